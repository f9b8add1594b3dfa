
"use strict";
(() => {
  // Everything that a record says is put in as text, never as markup.
  const CARDS_AT_ONCE = 60, LABELS_AT_FIRST = 15, HUES = [217, 28, 150, 340, 268, 52, 190, 0, 95, 305];
  const byId = (id) => document.getElementById(id);
  const number = (value) => value.toLocaleString("en");
  const NO_LABEL = "no label";

  function make(tag, className, ...content) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...content);
    return element;
  }

  // ---- The records, and what is counted of them ----

  const run = JSON.parse(byId("run").textContent);
  const records = Array.from(document.querySelectorAll("script.record"), (block, order) => {
    const record = JSON.parse(block.textContent);
    block.remove();
    record.order = order;
    const best = record.status === "ok" ? [record.predictions[0].label] : [];
    const spoken = (record.segments ?? []).map((segment) => segment[2]).filter((label) => label !== null);
    record.labels = new Set(record.segments ? spoken : best);
    record.score = record.status === "ok" ? record.predictions[0].score : -Infinity;
    const told = record.status === "ok"
      ? [...record.predictions.map((p) => p.label), ...record.labels, ...record.warnings]
      : [record.kind, record.message];
    record.haystack = [record.path, ...told].join("\n").toLowerCase();
    return record;
  });

  function count(keysOf) {
    const counts = new Map();
    for (const record of records) for (const key of keysOf(record)) counts.set(key, (counts.get(key) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  }
  const labels = count((record) => record.labels);
  const kinds = count((record) => (record.status === "error" ? [record.kind] : []));
  const rank = new Map(labels.map(([label], place) => [label, place]));
  const numFailed = kinds.reduce((sum, [, n]) => sum + n, 0);

  // ---- The head ----

  function showCounts() {
    const parts = [make("strong", "", `${number(records.length - numFailed)} classified`)];
    if (numFailed) parts.push(", ", make("strong", "bad", `${number(numFailed)} failed`));
    if (run.num_skipped) parts.push(`; ${number(run.num_skipped)} more were done by an earlier run and are not shown`);
    const left = run.num_inputs - records.length;
    if (left > 0) parts.push(`; interrupted, ${number(left)} of ${number(run.num_inputs)} are left`);
    byId("counts").replaceChildren(...parts);
  }

  // ---- Filters ----

  const chosen = { labels: new Set(), kinds: new Set() };

  function choice(name, n, most, set) {
    const share = make("span", "share");
    share.style.width = `${(100 * n) / most}%`;
    const button = make("button", "choice", make("span", "name", name), make("span", "count", number(n)), share);
    button.type = "button";
    button.title = name;
    button.setAttribute("aria-pressed", String(set.has(name)));
    button.addEventListener("click", () => {
      if (!set.delete(name)) set.add(name);
      button.setAttribute("aria-pressed", String(set.has(name)));
      update();
    });
    return button;
  }

  let allLabels = false;
  function showChoices() {
    for (const [id, counts, set] of [["failures", kinds, chosen.kinds], ["labels", labels, chosen.labels]]) {
      const some = id === "labels" && !allLabels ? counts.slice(0, LABELS_AT_FIRST) : counts;
      byId(id).hidden = !counts.length;
      byId(id).querySelector(".choices").replaceChildren(...some.map(([name, n]) => choice(name, n, counts[0][1], set)));
    }
    const button = byId("all-labels");
    button.hidden = labels.length <= LABELS_AT_FIRST;
    button.textContent = allLabels ? "Fewer labels" : `All ${number(labels.length)} labels`;
    button.setAttribute("aria-expanded", String(allLabels));
  }

  const SHOW = {
    all: () => true,
    ok: (record) => record.status === "ok",
    warnings: (record) => record.status === "ok" && record.warnings.length > 0,
    error: (record) => record.status === "error",
  };
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const bestLabel = (record) => (record.status === "ok" ? record.predictions[0].label : "\uffff");
  const SORT = {
    order: (a, b) => a.order - b.order,
    doubtful: (a, b) => (a.status === b.status ? a.score - b.score : a.status === "ok" ? -1 : 1),
    certain: (a, b) => b.score - a.score,
    label: (a, b) => compare(bestLabel(a), bestLabel(b)) || b.score - a.score,
    path: (a, b) => compare(a.path, b.path),
  };

  function matching() {
    const words = byId("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const show = SHOW[byId("show").value];
    const isChosen = (record) =>
      (!chosen.labels.size && !chosen.kinds.size) ||
      chosen.kinds.has(record.kind) ||
      [...record.labels].some((label) => chosen.labels.has(label));
    return records
      .filter((record) => show(record) && isChosen(record) && words.every((word) => record.haystack.includes(word)))
      .sort(SORT[byId("sort").value]);
  }

  // ---- Cards ----

  function clock(seconds) {
    const tenths = Math.round(seconds * 10);
    const two = (value) => String(value).padStart(2, "0");
    const minutes = Math.floor(tenths / 600);
    const hours = tenths >= 36000 ? `${Math.floor(minutes / 60)}:` : "";
    return `${hours}${two(minutes % 60)}:${two(Math.floor(tenths / 10) % 60)}.${tenths % 10}`;
  }

  function heading(path) {
    const cut = path.lastIndexOf("/") + 1;
    const element = make("h3", "", make("span", "folder", path.slice(0, cut)), make("span", "", path.slice(cut)));
    element.title = path;
    return element;
  }

  function frames(record) {
    const items = record.thumbnails.map(([frame, jpeg]) => {
      const image = make("img");
      image.decoding = "async";
      image.alt = `frame ${frame}`;
      image.width = record.video.width;
      image.height = record.video.height;
      image.src = `data:image/jpeg;base64,${jpeg}`;
      return make("li", "", image, make("span", "", String(frame)));
    });
    return items.length ? [make("ul", "frames", ...items)] : [];
  }

  function scores(predictions) {
    return make("ol", "scores", ...predictions.map(({ label, score }) => {
      const level = make("i");
      level.style.width = `${100 * Math.min(Math.max(score, 0), 1)}%`;
      const name = make("span", "name", label);
      name.title = label;
      const meter = make("span", "meter", level);
      meter.setAttribute("aria-hidden", "true");
      return make("li", "", name, meter, make("span", "value", score.toFixed(3)));
    }));
  }

  function facts(video) {
    const known = [
      video.duration_seconds === null ? "" : `${video.duration_seconds.toFixed(1)} s`,
      `${number(video.num_frames)} frames`,
      `${video.width} × ${video.height}`,
      video.codec,
    ];
    return make("p", "facts", known.filter(Boolean).join(" · "));
  }

  function colour(element, label) {
    const place = rank.get(label);
    element.classList.add(label === null ? "none" : place < HUES.length ? "hue" : "other");
    if (label !== null && place < HUES.length) element.style.setProperty("--hue", HUES[place]);
    return element;
  }

  function timeline(segments) {
    const first = segments[0][0], last = segments[segments.length - 1][1], whole = last - first || 1;
    const reading = make("span", "reading");
    const strip = make("div", "strip");
    strip.setAttribute("role", "group");
    strip.setAttribute("aria-label", "Labels over time; arrow keys go from segment to segment");
    const total = new Map();
    segments.forEach(([start, end, label, score], place) => {
      total.set(label, (total.get(label) ?? 0) + end - start);
      const told = `${clock(start)} – ${clock(end)}  ${label ?? NO_LABEL}${label === null ? "" : `  ${score.toFixed(2)}`}`;
      const segment = colour(make("span", "segment"), label);
      segment.style.left = `${(100 * (start - first)) / whole}%`;
      segment.style.width = `${(100 * (end - start)) / whole}%`;
      segment.title = told;
      segment.tabIndex = place ? -1 : 0;
      segment.setAttribute("role", "img");
      segment.setAttribute("aria-label", told);
      strip.append(segment);
    });
    const tell = (event) => { if (event.target.title) reading.textContent = event.target.title; };
    strip.addEventListener("mouseover", tell);
    strip.addEventListener("focusin", tell);
    strip.addEventListener("keydown", (event) => {
      const here = document.activeElement;
      const next = { ArrowRight: here.nextSibling, ArrowLeft: here.previousSibling, Home: strip.firstChild, End: strip.lastChild }[event.key];
      if (!next) return;
      event.preventDefault();
      here.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    const legend = [...total].sort((a, b) => b[1] - a[1]).map(([label, seconds]) =>
      make("li", "", colour(make("i"), label), label ?? NO_LABEL, make("span", "count", clock(seconds))));
    const axis = make("div", "axis", make("span", "", clock(first)), reading, make("span", "", clock(last)));
    return make("div", "timeline", strip, axis, make("ul", "legend", ...legend));
  }

  function card(record) {
    if (record.status === "error") {
      const body = make("div", "body", heading(record.path), make("p", "kind", record.kind), make("p", "message", record.message));
      return make("article", "card failed", body);
    }
    const body = make("div", "body", heading(record.path));
    if (record.segments) body.append(timeline(record.segments));
    body.append(scores(record.predictions), facts(record.video));
    for (const warning of record.warnings) body.append(make("p", "warning", warning));
    return make("article", record.segments ? "card long" : "card", ...frames(record), body);
  }

  // ---- What is shown ----

  let found = [], numShown = 0;

  function showMore(n = CARDS_AT_ONCE) {
    byId("cards").append(...found.slice(numShown, numShown + n).map(card));
    numShown = Math.min(numShown + n, found.length);
    byId("more").hidden = numShown >= found.length;
  }

  function update() {
    found = matching();
    numShown = 0;
    byId("cards").replaceChildren();
    showMore();
    const isAll = found.length === records.length;
    byId("shown").textContent = !records.length ? "No videos" : !found.length ? "Nothing matches"
      : isAll ? `${number(found.length)} videos` : `${number(found.length)} of ${number(records.length)} videos`;
    byId("reset").hidden = isAll && !byId("text").value && !chosen.labels.size && !chosen.kinds.size;
  }

  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("text").addEventListener("input", update);
  for (const id of ["show", "sort"]) byId(id).addEventListener("change", update);
  byId("more").addEventListener("click", () => showMore());
  byId("all-labels").addEventListener("click", () => { allLabels = !allLabels; showChoices(); });
  byId("reset").addEventListener("click", () => {
    byId("text").value = "";
    byId("show").value = "all";
    chosen.labels.clear();
    chosen.kinds.clear();
    showChoices();
    update();
  });
  addEventListener("beforeprint", () => showMore(found.length));
  const nearTheEnd = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    showMore();
    nearTheEnd.unobserve(byId("more")); // told again where it is still near
    nearTheEnd.observe(byId("more"));
  }, { rootMargin: "900px" });
  nearTheEnd.observe(byId("more"));

  showCounts();
  showChoices();
  update();
})();
