// Draws the charts of the page, whose specs stand in its element "charts".
const held = JSON.parse(document.getElementById("charts").textContent);
// `ast`: expressions are interpreted, so that the page needs no eval.
const options = { renderer: "svg", actions: false, ast: true, config: held.config };
(async () => {
  for (const place of document.querySelectorAll("[data-chart]")) {
    await vegaEmbed(place, held.specs[place.dataset.chart], options);
  }
  document.documentElement.dataset.drawn = "yes";
})();
