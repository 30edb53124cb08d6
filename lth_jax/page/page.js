"use strict";
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);
  let ring = null;

  const hide = () => { tip.hidden = true; ring?.remove(); ring = null; };

  /** Show what a point says, beside it. */
  const show = (svg, [x, y, , text]) => {
    hide();
    ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [name, value] of Object.entries({ cx: x, cy: y, r: 5, class: "ring" }))
      ring.setAttribute(name, value);
    svg.append(ring);
    tip.textContent = text;
    tip.hidden = false;
    const box = ring.getBoundingClientRect();
    const left = Math.min(box.right + 6, innerWidth - tip.offsetWidth - 6);
    tip.style.left = `${Math.max(6, left)}px`;
    const above = box.top - tip.offsetHeight - 6;
    tip.style.top = `${above < 0 ? box.bottom + 6 : above}px`;
  };

  const prepare = (svg) => {
    const points = JSON.parse(svg.dataset.points), off = new Set();
    let at = -1;
    const seen = () => points.filter((point) => !off.has(point[2]));

    const near = (event) => {
      const place = new DOMPoint(event.clientX, event.clientY)
        .matrixTransform(svg.getScreenCTM().inverse());
      const away = ([x, y]) => Math.hypot(x - place.x, y - place.y);
      const found = seen().reduce((a, b) => (!a || away(b) < away(a) ? b : a), null);
      if (found && away(found) < 25) show(svg, found); else hide();
    };
    svg.addEventListener("pointermove", near);
    svg.addEventListener("pointerdown", near);
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step || event.target !== svg || !seen().length) return;
      event.preventDefault();
      at = (Math.max(at, step < 0 ? 0 : -1) + step + seen().length) % seen().length;
      show(svg, seen()[at]);
    });

    /** Make the entries of the legend switches of their branches. */
    for (const entry of svg.querySelectorAll(".entry")) {
      const name = entry.dataset.of;
      const all = [...svg.querySelectorAll("[data-of]")]
        .filter((other) => other.dataset.of === name);
      const flip = () => {
        if (!off.delete(name)) off.add(name);
        for (const g of all) g.classList.toggle("off", off.has(name));
        for (const g of all.filter((other) => other.role === "button"))
          g.setAttribute("aria-pressed", String(!off.has(name)));
        hide();
      };
      entry.addEventListener("click", flip);
      if (!entry.querySelector("text")) continue;  // its line or marker
      for (const [key, value] of Object.entries(
        { role: "button", tabindex: 0, "aria-pressed": "true" }))
        entry.setAttribute(key, value);
      entry.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        flip();
      });
    }
  };
  document.querySelectorAll("svg[data-points]").forEach(prepare);
  addEventListener("scroll", hide, { passive: true });
})();
