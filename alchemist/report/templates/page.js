// Draws the charts of the page, whose specs stand in its element "charts".
const held = JSON.parse(document.getElementById("charts").textContent);
// `ast`: expressions are interpreted, so that the page needs no eval.
const options = { renderer: "svg", actions: false, ast: true };
const narrow = { ...held.config, legend: { ...held.config.legend, columns: 2 } }; // as on a phone
const views = {}; // by the name of the chart
(async () => {
  for (const place of document.querySelectorAll("[data-chart]")) {
    const name = place.dataset.chart;
    const config = place.clientWidth < 500 ? narrow : held.config;
    try {
      views[name] = (await vegaEmbed(place, held.specs[name], { ...options, config })).view;
    } catch (error) { // the others are drawn all the same
      place.textContent = `This chart could not be drawn (${error.message}); it lies in the folder figures.`;
      console.error(error);
    }
  }
  explore(views.explore);
  samples();
  document.documentElement.dataset.drawn = "yes";
})();
