// Draws the figures that stand in this page as JSON, when they come near the screen, in the reader's
// colours, and again when those change. No request is made.
(() => {
  "use strict";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const palettes = read("palettes");
  const figures = read("figures");
  const toDark = new Map(Object.keys(palettes.light).map((name) => [palettes.light[name], palettes.dark[name]]));
  const darkPreferred = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches;
  let dark = darkPreferred.matches;

  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touch ? false : "hover",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    plotlyServerURL: "",
    showTips: false,
  };

  // Only settings that are colours are changed: a class may be called "#ffffff".
  function themed(value, isColour = false) {
    if (typeof value === "string") return (dark && isColour && toDark.get(value)) || value;
    if (Array.isArray(value)) return isColour ? value.map((item) => themed(item, true)) : value;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, inside(name, item)]));
  }
  function inside(name, item) {
    if (["data", "shapes", "scatter", "heatmap"].includes(name) && Array.isArray(item)) return item.map((part) => themed(part));
    return themed(item, /color(scale|way)?$/.test(name));
  }

  function draw(box) {
    const { data, layout } = themed(figures[box.dataset.figure]);
    if (touch) layout.dragmode = false; // one finger scrolls the page
    return Plotly.react(box, data, layout, config).catch((error) => fail(box, error));
  }
  function fail(box, error) {
    console.error(error);
    box.classList.add("failed");
    box.textContent = "This figure could not be drawn: " + error.message;
  }

  const waiting = new Set(document.querySelectorAll("[data-figure]"));
  const drawn = new Set();
  const pending = [];
  function show(box) {
    if (!waiting.delete(box)) return;
    near.unobserve(box);
    drawn.add(box);
    try {
      pending.push(draw(box));
    } catch (error) {
      fail(box, error);
    }
    if (waiting.size === 0) {
      Promise.all(pending).then(() => {
        document.documentElement.dataset.drawn = Math.round(performance.now()); // read by the tests
      });
    }
  }
  const near = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => show(entry.target)),
    { rootMargin: "400px" },
  );
  waiting.forEach((box) => near.observe(box));

  // What is far below is drawn in idle moments, one figure each, so that scrolling finds it ready.
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 50));
  (function next() {
    const [box] = waiting;
    if (!box) return;
    idle(() => {
      show(box);
      next();
    });
  })();

  function recolour(toDarkNow) {
    dark = toDarkNow;
    drawn.forEach(draw);
  }
  darkPreferred.addEventListener("change", () => recolour(darkPreferred.matches));
  addEventListener("beforeprint", () => {
    waiting.forEach(show);
    recolour(false);
  });
  addEventListener("afterprint", () => recolour(darkPreferred.matches));

  document.querySelectorAll("[data-scale]").forEach((button) => {
    const axis = figures[button.dataset.for].layout.yaxis;
    const siblings = button.parentElement.querySelectorAll("button");
    const press = () => siblings.forEach((one) => one.setAttribute("aria-pressed", one.dataset.scale === axis.type));
    button.addEventListener("click", () => {
      axis.type = button.dataset.scale;
      axis.tickmode = axis.type === "log" ? "array" : "auto";
      press();
      draw(document.querySelector(`[data-figure="${button.dataset.for}"]`));
    });
    press();
    button.parentElement.hidden = false;
  });
})();
