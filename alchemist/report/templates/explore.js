// The gallery follows its menu and the brush of the histogram. Text enters the page as text alone.
function explore(view) {
  const held = JSON.parse(document.getElementById("pairs").textContent);
  const { raters, arms, pairs, whys, bins, groups } = held;
  const drawn = pairs.slice(0, held.drawn); // the others are in groups alone
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

  function chosen(among) {
    const [rater, arm] = [value("rater"), value("arm")];
    const [low, high] = [Number(value("low")), Number(value("high") || 100)];
    const words = value("words").toLowerCase().split(/\s+/).filter(Boolean);
    const found = among.filter((pair) =>
      (value("kind") === "" || pair.kind === value("kind")) &&
      words.every((word) => pair.caption.toLowerCase().includes(word)) &&
      (pair.left_out // it has no rank and is in no subset, so it is there where none is asked for
        ? value("kept") === "" && low <= 0 && high >= 100 && brushed === null
        : (value("kept") === "" || pair.kept[arm] === Number(value("kept"))) &&
          pair.rank[rater] >= low && pair.rank[rater] <= high &&
          (brushed === null || (pair.rating[rater] >= brushed[0] && pair.rating[rater] <= brushed[1]))));
    const place = (pair) => (pair.left_out ? Infinity : Number(value("order")) * pair.rank[rater]);
    return found.sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
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
    below.append(element("em", pair.caption));
    if (pair.left_out) below.append(element("span", `left out before rating: ${pair.left_out}`, "pruned"));
    else {
      const kept = pair.kept[arm] === 1;
      below.append(`rank ${pair.rank[rater]} %${pair.kind && `, ${pair.kind}`} `,
        element("span", `${kept ? "kept" : "pruned"}: ${whys[pair.why[arm]]}`, kept ? "kept" : "pruned"));
    }
    if (pair.copies > 1 && value("together") === "") below.append(element("small", `one of ${pair.copies} near-duplicates`));
    const made = document.createElement("figure");
    made.title = pair.id;
    made.append(image, below);
    return made;
  }

  // Size and outcome are of all of the group, whatever the menu shows of it.
  function section({ group, found }) {
    const kept = group.kept[value("arm")];
    const parts = [`${group.size} near-duplicates: ${kept} kept`, `${group.rated - kept} pruned`];
    if (group.rated < group.size) parts.push(`${group.size - group.rated} left out before rating`);
    if (found.length < group.size) parts.push(`${found.length} shown`);
    const made = element("section", "", "group");
    const row = document.createElement("div");
    row.append(...found.map(card));
    made.append(element("h3", parts.join(", ")), row);
    return made;
  }

  function show() {
    const together = value("together") === "1";
    gallery.classList.toggle("grouped", together);
    const what = `rating ${raters[value("rater")]}, subset ${arms[value("arm")]}`;
    if (!together) {
      const found = chosen(drawn);
      gallery.replaceChildren(...found.slice(0, room).map(card));
      count.textContent = `${found.length} of ${drawn.length} pairs; ${what}`;
      more.hidden = found.length <= room;
      return;
    }
    const found = groups.map((group) => ({ group, found: chosen(group.pairs.map((i) => pairs[i])) }))
      .filter((one) => one.found.length);
    let pictures = 0;
    const some = found.filter((one) => (pictures += one.found.length) - one.found.length < room);
    gallery.replaceChildren(...some.map(section));
    count.textContent = `${found.length} of ${groups.length} groups, ${pictures} pair${pictures === 1 ? "" : "s"}; ${what}`;
    more.hidden = some.length === found.length;
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
