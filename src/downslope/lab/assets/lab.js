// What the page does by itself, without asking the server: colours, animation, the address.
(() => {
  "use strict";
  const same = () => window.dash_clientside.no_update;
  const set = (id, props) => window.dash_clientside.set_props(id, props);
  const darkPreferred = matchMedia("(prefers-color-scheme: dark)");
  darkPreferred.addEventListener("change", () => set("dark", { data: darkPreferred.matches }));

  // Dash names a menu by what is chosen alone; a screen reader is to hear its label before that.
  function nameMenus() {
    for (const label of document.querySelectorAll(".field > label[for]")) {
      const menu = document.getElementById(label.htmlFor);
      const named = menu && menu.getAttribute("aria-labelledby");
      if (!named || (label.id && named.startsWith(label.id))) continue;
      label.id = `label-${menu.id.replaceAll(/\W+/g, "-")}`;
      menu.setAttribute("aria-labelledby", `${label.id} ${named}`);
    }
  }
  new MutationObserver(nameMenus).observe(document, { childList: true, subtree: true });

  // ---- figures -------------------------------------------------------------------------------------
  // Only settings that are colours are changed: a column may be called "#ffffff".
  function themed(value, colours, isColour = false) {
    if (typeof value === "string") return (isColour && colours[value]) || value;
    if (Array.isArray(value)) return isColour ? value.map((item) => themed(item, colours, true)) : value;
    if (value === null || typeof value !== "object" || "bdata" in value) return value;
    const inside = ([name, item]) => {
      const isList = ["shapes", "annotations", "scatter", "heatmap"].includes(name) && Array.isArray(item);
      const changed = isList
        ? item.map((part) => themed(part, colours))
        : themed(item, colours, /color(scale|way)?$/.test(name));
      return [name, changed];
    };
    return Object.fromEntries(Object.entries(value).map(inside));
  }

  // A trace whose meta says "path" is shown up to a step, one that says "head" at that step alone.
  function upTo(trace, step) {
    const role = trace.meta && trace.meta.role;
    if (!role) return trace;
    if (step === null || step === undefined) step = trace.x.length - 1;
    const first = role === "head" ? Math.min(step, trace.x.length - 1) : 0;
    const cut = { ...trace };
    for (const axis of ["x", "y", "z", "customdata"]) {
      if (trace[axis]) cut[axis] = trace[axis].slice(first, role === "head" ? first + 1 : step + 1);
    }
    return cut;
  }

  const painted = new Map(); // figure → its themed copy, so that an animation changes colours only once
  function paint(figure, dark, step, colours) {
    if (!figure) return same();
    const key = `${window.dash_clientside.callback_context.outputs_list.id.name}`;
    let known = painted.get(key);
    if (!known || known.figure !== figure || known.dark !== dark) {
      const parts = dark
        ? { data: figure.data.map((trace) => themed(trace, colours)), layout: themed(figure.layout, colours) }
        : figure;
      known = { figure, dark, parts };
      painted.set(key, known);
    }
    return { data: known.parts.data.map((trace) => upTo(trace, step)), layout: known.parts.layout };
  }

  // ---- sliders, which hold the same number as the field beside them ----------------------------------
  function slider(field, value, fromField, toField) {
    const context = window.dash_clientside.callback_context.triggered_id;
    if (context && context.kind !== "control") return [toField(Number(value)), same()];
    const number = Number(String(field).replace(",", "."));
    return [same(), Number.isFinite(number) ? fromField(number) : same()];
  }
  const short = (number) => String(Number(number.toPrecision(2)));

  // ---- playing ---------------------------------------------------------------------------------------
  let playing = null; // the timer of the valley's animation
  const valley = { step: 0, last: 0, painted: null };
  function pause() {
    clearTimeout(playing);
    playing = null;
    const button = document.getElementById("valley-play");
    if (button) set("valley-play", { children: "▶ Play" });
  }
  function advance() {
    if (!document.getElementById("valley-play")) return pause();
    const stride = Math.max(1, Math.round(valley.last / 150));
    valley.step = Math.min(valley.last, valley.step + stride);
    set("valley-step", { value: valley.step });
    if (valley.step >= valley.last) return pause();
    playing = setTimeout(advance, 45);
  }

  let remembering = null;
  let learning = false; // whether the network's page plays
  function learn(on) {
    learning = on;
    if (document.getElementById("network-play")) set("network-play", { children: on ? "❚❚ Pause" : "▶ Play" });
  }

  const titles = { "/": "Valley", "/network": "Network", "/runs": "Runs" };

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    lab: {
      paint,
      slide: (field, value) => slider(field, value, (n) => n, (n) => short(n)),
      slide_log: (field, value) => slider(field, value, (n) => (n > 0 ? Math.log10(n) : same()), (n) => short(10 ** n)),

      arrive(path) {
        document.title = `${titles[path] || "No such page"} · Downslope lab`;
        for (const tab of document.querySelectorAll("nav .page-tab")) {
          const here = tab.getAttribute("href") === path;
          here ? tab.setAttribute("aria-current", "page") : tab.removeAttribute("aria-current");
        }
        pause();
        learn(false);
        valley.last = 0;
        valley.painted = null;
        set("position", { data: null });
        return darkPreferred.matches;
      },

      remember(values, ids) {
        if (!ids.length) return same();
        const words = new URLSearchParams();
        ids.forEach((id, place) => {
          const value = values[place];
          words.set(id.name, Array.isArray(value) ? value.join("\n") : value === null || value === undefined ? "" : value);
        });
        const address = `${location.pathname}?${words}`;
        clearTimeout(remembering); // browsers allow only so many changes a minute
        remembering = setTimeout(() => {
          if (location.pathname === address.split("?")[0]) history.replaceState(history.state, "", address);
        }, 300);
        return address;
      },

      add_start(click, starts, dimension) {
        if (!click || !click.points.length) return same();
        const { x, y } = click.points[0];
        const spelled = (number) => String(Number(number.toFixed(2)));
        const point = dimension === 1 ? spelled(x) : `${spelled(x)}, ${spelled(y)}`;
        const all = (starts || "").split(";").map((one) => one.trim()).filter(Boolean);
        return [...all, point].slice(-6).join("; ");
      },
      clear_starts: (clicks) => (clicks ? "" : same()),

      // A new descent is shown whole, unless one is playing; without one there is nothing to play.
      descended(figure) {
        valley.last = figure ? figure.layout.meta.steps : 0;
        valley.step = playing ? Math.min(valley.step, valley.last) : valley.last;
        return [valley.last, valley.step, !valley.last];
      },
      show_step(step) {
        valley.step = Number(step);
        const isShown = valley.step === valley.painted; // else every figure would be drawn twice
        valley.painted = valley.step;
        return [isShown ? same() : valley.step, valley.last ? `step ${valley.step} of ${valley.last}` : ""];
      },
      play(clicks) {
        if (!clicks) return same();
        if (playing) {
          pause();
          return "▶ Play";
        }
        if (valley.step >= valley.last) valley.step = -1;
        playing = setTimeout(advance, 0);
        return "❚❚ Pause";
      },

      // The network: each answer asks for the next, so that a slow machine is never asked twice at once.
      network_next(shown, play, once, restart, step, pace) {
        const cause = window.dash_clientside.callback_context.triggered_id;
        const go = (to) => set({ page: "network", name: "step", kind: "control" }, { value: String(Math.min(to, shown ? shown.last : to)) });
        const stride = Math.max(1, Math.round(Number(pace)) || 1);
        if (cause === "network-shown") {
          if (!learning || !shown) return learn(false);
          if (shown.step >= shown.last) return learn(false);
          return go(shown.step + stride);
        }
        if (cause === "network-play") {
          learn(!learning);
          return learning ? go(Number(step) + stride) : undefined;
        }
        learn(false);
        return cause === "network-once" ? go(Number(step) + 1) : go(0);
      },
    },
  });
})();
