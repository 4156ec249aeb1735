"use strict";
(() => {
  const root = document.documentElement;
  const all = (query) => [...document.querySelectorAll(query)];

  // Colours are variables of the page, so that charts follow its theme and print in light colours.
  const config = {
    background: "transparent",
    aria: false,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: "var(--ink)", titleColor: "var(--muted)", gridColor: "var(--line)", domainColor: "var(--line)",
      tickColor: "var(--line)", labelFontSize: 13, titleFontSize: 13, titleFontWeight: "normal", titlePadding: 8,
    },
    legend: { labelColor: "var(--ink)", titleColor: "var(--muted)", labelFontSize: 13, symbolStrokeWidth: 0 },
    text: { fill: "var(--ink)" },
  };

  const views = {};
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const drawn = all("[data-spec]").map(async (place) => {
    try {
      const found = await vegaEmbed(place, specs[place.dataset.spec], { actions: false, renderer: "svg", config });
      views[place.dataset.spec] = found.view;
      place.querySelectorAll("svg").forEach((drawing) => drawing.setAttribute("aria-hidden", "true"));
    } catch (error) {
      place.textContent = "This chart could not be drawn. The tables have the same figures.";
      console.error(error);
    }
  });
  Promise.all(drawn).then(() => { root.dataset.ready = Object.keys(views).length; });
  for (const menu of all("select[data-chart]")) {
    menu.addEventListener("change", () => {
      const view = views[menu.dataset.chart];
      if (view) view.signal("pick_" + menu.dataset.name, menu.value).runAsync();
    });
  }

  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const filters = {};
  for (const field of all("input[data-filter]")) {
    const table = document.getElementById(field.dataset.filter);
    const count = document.querySelector(`[data-count="${field.dataset.filter}"]`);
    const rows = [...table.tBodies[0].rows];
    const words = rows.map((row) => row.textContent.toLowerCase());
    filters[field.dataset.filter] = () => {
      const wanted = field.value.trim().toLowerCase().split(/\s+/);
      let left = 0;
      rows.forEach((row, number) => {
        row.hidden = !wanted.every((word) => words[number].includes(word));
        left += row.hidden ? 0 : 1;
      });
      count.textContent = field.value.trim() ? `${left} of ${rows.length} rows` : "";
    };
    field.addEventListener("input", filters[field.dataset.filter]);
  }

  const byClass = document.getElementById("pick-class");
  const byOutcome = document.getElementById("pick-outcome");
  if (byClass) {
    const cards = all(".card");
    const show = () => {
      let left = 0;
      for (const card of cards) {
        card.hidden = (byClass.value && card.dataset.class !== byClass.value)
          || (byOutcome.value && card.dataset.outcome !== byOutcome.value);
        left += card.hidden ? 0 : 1;
      }
      document.getElementById("gallery-count").textContent = `${left} of ${cards.length} pictures`;
    };
    byClass.addEventListener("change", show);
    byOutcome.addEventListener("change", show);
    show();
    // A class whose images are shown leads to them.
    const shown = new Set(cards.map((card) => card.dataset.class));
    for (const head of all("#table-classes tbody th")) {
      const name = head.textContent.trim();
      if (!shown.has(name)) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "link";
      button.textContent = name;
      button.addEventListener("click", () => {
        byClass.value = name;
        byOutcome.value = "";
        show();
        byClass.focus();
        byClass.scrollIntoView({ block: "center" });
      });
      head.replaceChildren(button);
    }
  }

  for (const button of all("button[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }
})();
