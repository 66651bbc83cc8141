// The gallery follows its menu and the brush of the histogram. Text enters the page as text alone.
function explore(view) {
  const { raters, arms, pairs, whys, bins } = JSON.parse(document.getElementById("pairs").textContent);
  const menu = document.getElementById("explore-menu");
  const gallery = document.getElementById("gallery");
  const count = document.getElementById("explore-count");
  const more = document.getElementById("explore-more");
  const PAGE = 60; // pictures at once
  let room = PAGE;
  let brushed = null; // least and largest rating

  const value = (name) => (menu.elements[name] ? menu.elements[name].value : "");

  function bars() {
    if (!view) return; // its chart could not be drawn; the gallery needs none
    const { edges, all, kept } = bins[value("rater")];
    const of = kept[value("arm")];
    const rows = all.flatMap((whole, i) => {
      const bin = { rating: edges[i], to: edges[i + 1] };
      return [{ ...bin, kind: "kept", pairs: of[i] }, { ...bin, kind: "pruned", pairs: whole - of[i] }];
    });
    view.data("rows", rows).runAsync();
  }

  function chosen() {
    const [rater, arm] = [value("rater"), value("arm")];
    const words = value("words").toLowerCase().split(/\s+/).filter(Boolean);
    const found = pairs.filter((pair) =>
      (value("kept") === "" || pair.kept[arm] === Number(value("kept"))) &&
      (value("kind") === "" || pair.kind === value("kind")) &&
      pair.rank[rater] >= Number(value("low")) && pair.rank[rater] <= Number(value("high") || 100) &&
      (brushed === null || (pair.rating[rater] >= brushed[0] && pair.rating[rater] <= brushed[1])) &&
      words.every((word) => pair.caption.toLowerCase().includes(word)));
    return found.sort((a, b) => Number(value("order")) * (a.rank[rater] - b.rank[rater]));
  }

  function element(tag, text, name) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function card(pair) {
    const [rater, arm] = [value("rater"), value("arm")];
    const image = document.createElement("img");
    [image.src, image.alt] = [pair.picture, pair.caption];
    const below = document.createElement("figcaption");
    const kept = pair.kept[arm] === 1;
    below.append(element("em", pair.caption), `rank ${pair.rank[rater]} %${pair.kind && `, ${pair.kind}`} `,
      element("span", `${kept ? "kept" : "pruned"}: ${whys[pair.why[arm]]}`, kept ? "kept" : "pruned"));
    const made = document.createElement("figure");
    made.title = pair.id;
    made.append(image, below);
    return made;
  }

  function show() {
    const found = chosen();
    gallery.replaceChildren(...found.slice(0, room).map(card));
    count.textContent = `${found.length} of ${pairs.length} pairs; rating ${raters[value("rater")]}, ` +
      `subset ${arms[value("arm")]}`;
    more.hidden = found.length <= room;
  }

  menu.addEventListener("input", async (event) => {
    room = PAGE;
    // Ratings of another rater lie elsewhere. Before its bars, since a new scale would move the brush.
    if (view && event.target.name === "rater") await view.signal("brush_x", [0, 0]).runAsync();
    if (event.target.name === "rater" || event.target.name === "arm") bars();
    show();
  });
  more.addEventListener("click", () => { room += PAGE; show(); });
  if (view) view.addSignalListener("brush", (name, marked) => {
    brushed = marked.rating || null;
    room = PAGE;
    show();
  });
  // The marked stretch is told by the line below the bars; its rectangle says nothing to who hears the page.
  for (const mark of (view ? view.container() : gallery).querySelectorAll("[class*=brush_brush]")) mark.setAttribute("aria-hidden", "true");
  show();
}
