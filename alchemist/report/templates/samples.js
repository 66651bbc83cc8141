// The sample grids follow the checkpoint that is chosen; on paper they are those of the last.
function samples() {
  const menu = document.getElementById("samples-menu");
  if (!menu) return; // no cell has more than one checkpoint
  const cells = JSON.parse(document.getElementById("earlier-sheets").textContent);
  const figures = [...document.querySelectorAll(".sheets figure")];
  const latest = figures.map((figure) => figure.querySelector("img").src);
  const choice = menu.elements.point;

  // Whether the cell was measured until then. What it drew later is not shown beside what others drew by then.
  function show(figure, i, point) {
    const last = cells[i].at.filter(([images]) => images <= point).pop();
    figure.classList.toggle("absent", !last);
    if (last) figure.querySelector("img").src = last[2] || latest[i];
    figure.querySelector(".seen").textContent =
      last ? `${last[1]} images seen` : `not measured before ${cells[i].first} images`;
    return Boolean(last);
  }

  const all = (point) => figures.filter((figure, i) => show(figure, i, point)).length;

  function choose() {
    const missing = figures.length - all(Number(choice.value));
    document.getElementById("samples-count").textContent =
      `Each cell at its last checkpoint until ${choice.selectedOptions[0].text} images` +
      (missing ? `; ${missing} of ${figures.length} have none by then` : "");
  }

  menu.hidden = false;
  menu.addEventListener("input", choose);
  window.addEventListener("beforeprint", () => all(Infinity));
  window.addEventListener("afterprint", choose);
}
