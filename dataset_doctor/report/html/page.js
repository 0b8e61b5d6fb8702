"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const group = (value) => Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : String(Math.round(value * 100) / 100);
  const whole = (value) => value.toLocaleString("en-US");
  const percent = (value) => value > 0 && value < 0.0005 ? "<0.1 %" : (value * 100).toFixed(1) + " %";

  // Text becomes text nodes only; nothing here parses markup.
  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map((child) => child instanceof Node ? child : String(child)));
    return node;
  }
  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const text = (value) => el("span", { class: "data" }, value);
  const bar = (share, kind = "") => {
    const node = el("div", { class: `bar ${kind}` });
    node.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
    return node;
  };
  const MARKS = { error: "■ error", warning: "▲ warning", info: "● info" };
  const badge = (severity) => el("span", { class: `badge mark ${severity}` }, MARKS[severity]);

  // What stands between backticks is code.
  const prose = (value) => value.split("`").map((part, at) => at % 2 ? el("code", {}, part) : part);

  // A details element whose content is made when it is first opened.
  function later(attributes, summary, make) {
    const node = el("details", attributes, el("summary", { onclick: () => node.make() }, summary));
    let made = false;
    node.addEventListener("toggle", () => { if (node.open) node.make(); });
    node.make = () => { if (!made) { made = true; node.append(...[make()].flat()); } };
    return node;
  }

  function table(head, rows, label) {
    const numeric = head.map((_, at) => rows.length > 0 && rows.every((row) => typeof row[at] === "number"));
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
      el("table", {},
        el("thead", {}, el("tr", {}, head.map((name, at) => el("th", { scope: "col", class: numeric[at] ? "number" : null }, name)))),
        el("tbody", {}, rows.map((row) => el("tr", {}, row.map((value, at) =>
          numeric[at] ? el("td", { class: "number" }, group(value)) : el("td", {}, text(value))))))));
  }

  // Head --------------------------------------------------------------------------------------------------------------

  function head() {
    const [first, ...more] = data.verdict;
    return el("header", { class: "top" },
      el("h1", {}, text(data.name)),
      el("p", { class: "quiet" }, data.kind),
      el("p", { class: `verdict ${data.worst}` }, el("strong", {}, first), more.length ? " " + more.join(" ") : ""),
      el("dl", { class: "figures" }, data.figures.map(([value, name, note]) =>
        el("div", { class: "card" }, el("dt", {}, name), el("dd", { class: "value" }, value), note ? el("dd", { class: "quiet small data" }, note) : null))));
  }

  // What to do --------------------------------------------------------------------------------------------------------

  function copyButton(command) {
    const button = el("button", { type: "button", class: "copy", "aria-label": `Copy the command ${command}` }, "Copy");
    const done = (word) => { button.textContent = word; say(word); setTimeout(() => { button.textContent = "Copy"; }, 2000); };
    const byHand = () => {
      const area = el("textarea", { readonly: true, class: "hide" });
      area.value = command;
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      button.focus();
      done(copied ? "Copied" : "Select it by hand");
    };
    button.addEventListener("click", () => {
      if (navigator.clipboard) navigator.clipboard.writeText(command).then(() => done("Copied"), byHand);
      else byHand();
    });
    return button;
  }

  const commandLine = (command) => el("div", { class: "command" }, el("code", { class: "data" }, command), copyButton(command));

  const STRENGTHS = { policy: "a convention you can choose otherwise", evidence: "measured; see the sources" };

  function todo(item) {
    const most = Math.max(1, ...item.changes.map(([, before, then]) => Math.max(before, then)));
    const rows = item.changes.map(([name, before, then]) => el("div", { class: "change" },
      text(name),
      el("div", { class: "track", "aria-hidden": "true" }, bar(before / most, "before"), bar(then / most)),
      el("span", { class: "number" }, `${whole(before)} → ${whole(then)}`)));
    const more = later({ class: "more" }, "Settings and sources", () => [
      el("dl", { class: "keys" }, item.parameters.map(([key, value]) => [el("dt", {}, text(key)), el("dd", { class: "data" }, value)])),
      item.sources.length ? el("p", { class: "small quiet" }, "Based on ", text(item.sources.join("; "))) : "",
    ]);
    return el("article", { class: "card todo", id: `todo-${item.id}`, tabindex: "-1" },
      el("div", { class: "row" },
        el("h3", {}, text(item.action)),
        el("span", { class: "quiet small" }, item.id),
        el("span", { class: "badge push", title: STRENGTHS[item.strength] }, item.strength)),
      el("p", { class: "data" }, item.why),
      item.command ? commandLine(item.command) : null,
      rows.length ? el("div", { role: "group", "aria-label": "Instances before and after, predicted" },
        el("p", { class: "small quiet" }, "Instances before → after, predicted"), rows,
        item.unshown ? el("p", { class: "small quiet" }, `… and ${whole(item.unshown)} more classes change`) : null) : null,
      item.after.length && (rows.length || item.command) ? el("p", { class: "small quiet" }, "Afterwards: " + item.after.map(([name, value]) => `${name} ${value}`).join(" · ")) : null,
      el("div", { class: "tail" },
        el("dl", { class: "keys" },
          item.cost ? [el("dt", {}, "cost"), el("dd", { class: "data" }, item.cost)] : null,
          item.addresses.length ? [el("dt", {}, "answers"), el("dd", {}, item.addresses.map((code, at) => [at ? ", " : "", known(code)]))] : null),
        item.parameters.length || item.sources.length ? more : null));
  }

  const known = (code) => data.findings.some((f) => f.code === code) ? el("a", { href: `#${code}` }, code) : code;

  function whatToDo() {
    return section("todo", "What to do", data.recommendations.length
      ? el("div", { class: "pair" }, data.recommendations.map(todo))
      : el("p", { class: "quiet" }, "Nothing: no rule found a treatment that would help."));
  }

  // Findings ----------------------------------------------------------------------------------------------------------

  function thumbnail(picture, boxes, name, note) {
    const W = 160, H = 120;
    const at = picture === null || picture === undefined ? null : data.pictures[picture];
    const drawing = svg("svg", { class: "thumb", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": at ? `${name}${note ? ", " + note : ""}${boxes.length ? `, ${boxes.length} boxes drawn` : ""}` : `${name}: no picture` });
    if (!at) return fill(drawing, {}, [svg("text", { class: "none", x: W / 2, y: H / 2 + 4 }, "no picture")]);
    const pad = boxes.length ? 8 : 0;
    const scale = Math.min((W - 2 * pad) / at[1], (H - 2 * pad) / at[2]);
    const w = at[1] * scale, h = at[2] * scale, left = (W - w) / 2, top = (H - h) / 2;
    drawing.append(svg("image", { href: at[0], x: left, y: top, width: w, height: h, preserveAspectRatio: "none" }));
    for (const kind of ["halo", "line"]) {
      for (const [x1, y1, x2, y2] of boxes) {
        const bw = (x2 - x1) * w, bh = (y2 - y1) * h, x = left + x1 * w, y = top + y1 * h;
        if (Math.min(bw, bh) < 3) drawing.append(svg("circle", { class: kind, cx: x + bw / 2, cy: y + bh / 2, r: Math.max(7, Math.max(bw, bh) / 2 + 4) }));
        if (Math.max(bw, bh) >= 3) drawing.append(svg("rect", { class: kind, x, y, width: Math.max(bw, .5), height: Math.max(bh, .5) }));
      }
    }
    return drawing;
  }

  const pictures = (members) => el("ul", { class: "strip" }, members.map((one) => el("li", {}, thumbnail(one.picture, one.boxes, one.name, one.note),
    el("span", { class: "data title", title: one.name }, one.name.split("/").pop()), one.note ? el("span", { class: "quiet data title", title: one.note }, one.note) : null)));

  const placeLine = ([name, notes, split, state]) => el("li", {}, name ? el("code", { class: "data" }, name) : null,
    notes ? el("span", { class: "data" }, `${name ? "  " : ""}${notes}`) : null,
    split && split !== "all" ? el("span", { class: "quiet data" }, `  ${split}`) : null,
    state ? el("span", { class: "quiet" }, ` (${state})`) : null);

  function findingBody(finding) {
    const [what, ...rest] = finding.page;
    const order = ["Why it matters", "What to do"];
    const first = order.map((label) => rest.find((part) => part[0] === label)).filter(Boolean);
    const others = rest.filter((part) => !first.includes(part));
    const labelled = (parts) => el("dl", { class: "page" }, parts.map(([label, value]) => [el("dt", {}, label || "Note"), el("dd", {}, prose(value))]));
    const examples = finding.places.slice(0, 3), unlisted = finding.total - finding.places.length;
    return el("div", { class: "body" },
      labelled([...(what ? [["What it is", what[1]]] : []), ...first]),
      finding.advice ? el("p", { class: "small" }, "Recommended: ", el("a", { href: `#todo-${finding.advice[0]}` }, `${finding.advice[0]} ${finding.advice[1]}`)) : null,
      finding.strip.length ? pictures(finding.strip) : null,
      finding.groups.length ? el("p", { class: "small" }, el("a", { href: "#pairs" }, "See them side by side")) : null,
      examples.length ? el("div", {},
        el("ul", { class: "places" }, examples.map(placeLine)),
        finding.places.length > examples.length ? later({ class: "more all" }, `All ${whole(finding.places.length)} listed places`, () => [
          el("ul", { class: "places" }, finding.places.map(placeLine)),
        ]) : null,
        unlisted > 0 ? el("p", { class: "small quiet" }, `… and ${whole(unlisted)} more: `, el("code", {}, "--locations all -o report.json")) : null) : null,
      others.length ? later({ class: "more" }, "Causes and notes", () => labelled(others)) : null,
      el("p", { class: "small quiet" }, `Fix: ${finding.fix}. `, el("code", {}, `dataset-doctor explain ${finding.code}`)));
  }

  function findings() {
    const all = data.findings;
    if (!all.length) return section("findings", "Findings", el("p", { class: "quiet" }, "None: no check that ran found anything."));
    const status = el("span", { class: "quiet small", role: "status" });
    const shown = { error: true, warning: true, info: true };
    const families = [...new Map(all.map((f) => f.family)).entries()].sort();
    const choice = el("select", { onchange: filter, id: "family" }, el("option", { value: "" }, "all families"), families.map(([code, name]) => el("option", { value: code }, `${code} ${name}`)));
    const buttons = Object.keys(MARKS).map((severity) => {
      const n = all.filter((f) => f.severity === severity).length;
      return n ? el("button", { type: "button", "aria-pressed": "true", class: severity, onclick: (event) => {
        shown[severity] = !shown[severity];
        event.currentTarget.setAttribute("aria-pressed", shown[severity]);
        filter();
      } }, `${MARKS[severity]} `, el("span", { class: "quiet" }, n)) : null;
    });
    let opened = 0;
    const nodes = all.map((finding) => {
      const node = later({ class: `card finding ${finding.severity}${finding.quiet ? " passed" : ""}`, id: finding.code }, [
        el("span", { class: "said data" }, finding.message),
        el("span", { class: "what small quiet" }, badge(finding.severity), ` ${finding.code} ${finding.name}`, el("span", { class: "data" }, finding.total > 1 ? ` · ${whole(finding.total)} places` : "")),
      ], () => findingBody(finding));
      if (finding.severity !== "info" && !finding.quiet && opened < 3) { opened += 1; node.open = true; node.make(); }
      return node;
    });
    const groups = Object.keys(MARKS).map((severity) => {
      const members = nodes.filter((_, at) => all[at].severity === severity);
      const words = { error: "Errors: training goes wrong or stops", warning: "Warnings: likely to cost accuracy", info: "Worth knowing" };
      return members.length ? el("div", { class: severity }, el("h3", { class: "group" }, words[severity]), members) : null;
    }).filter(Boolean);
    const open = (value) => nodes.forEach((node) => { if (!node.hidden) { node.open = value; if (value) node.make(); } });
    function filter() {
      let n = 0;
      nodes.forEach((node, at) => {
        node.hidden = !shown[all[at].severity] || (choice.value !== "" && choice.value !== all[at].family[0]);
        n += node.hidden ? 0 : 1;
      });
      groups.forEach((one) => { one.hidden = [...one.querySelectorAll(".finding")].every((node) => node.hidden); });
      status.textContent = n === all.length ? `${n} findings` : `${n} of ${all.length} findings`;
    }
    filter();
    return section("findings", "Findings", el("div", { class: "controls" },
      el("div", { class: "row", role: "group", "aria-label": "Severity" }, buttons),
      families.length > 1 ? el("label", {}, "family", choice) : null,
      el("button", { type: "button", onclick: () => open(true) }, "Open all"), el("button", { type: "button", onclick: () => open(false) }, "Close all"), status), groups);
  }

  // Classes -----------------------------------------------------------------------------------------------------------

  function classes() {
    const { rows, title, left_out: leftOut } = data.classes;
    if (!rows.length) return section("classes", "Classes", el("p", { class: "quiet" }, "No class is declared."));
    const STEP = 100;
    const view = { split: -1, log: false, by: data.boxed ? "instances" : "images", up: false, word: "", n: rows.length > 60 ? 40 : 60 };
    const images = (row) => view.split < 0 ? row[2] : row[5 + 2 * view.split];
    const instances = (row) => view.split < 0 ? row[3] : row[6 + 2 * view.split];
    const columns = [
      ["class", "name", (row) => row[0]],
      ["images", "images", images],
      ...(data.boxed ? [["instances", "instances", instances]] : []),
      ["share", "share", instances],
      ["group", "group", (row) => ["", "rare", "common", "frequent"].indexOf(row[4])],
    ];
    const body = el("tbody", {}), status = el("p", { class: "quiet small", role: "status" });
    const more = el("button", { type: "button", class: "again", onclick: () => { const before = body.children.length; view.n += STEP * 5; draw(); body.children[before]?.scrollIntoView?.({ block: "nearest" }); } });
    const heads = columns.map(([label, key]) => el("th", { scope: "col", class: `${["images", "instances", "share"].includes(key) ? "number" : ""} ${["share", "group"].includes(key) ? "lesser" : ""}` },
      el("button", { type: "button", onclick: () => { view.up = view.by === key ? !view.up : key === "name"; view.by = key; draw(); } }, label)));
    function draw() {
      const value = columns.find(([, key]) => key === view.by)[2];
      const word = view.word.toLowerCase();
      const kept = rows.filter((row) => row[0].toLowerCase().includes(word));
      kept.sort((a, b) => {
        const x = value(a), y = value(b);
        const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
        return (view.up ? order : -order) || a[1] - b[1];
      });
      const most = rows.reduce((n, row) => Math.max(n, instances(row)), 1);
      const total = rows.reduce((n, row) => n + instances(row), 0) || 1;
      const length = (n) => view.log ? Math.log1p(n) / Math.log1p(most) : n / most;
      body.replaceChildren(...kept.slice(0, view.n).map((row) => el("tr", {},
        el("td", { class: "name" }, text(row[0])),
        el("td", { class: "number" }, whole(images(row))),
        data.boxed ? el("td", { class: "number" }, whole(instances(row))) : null,
        el("td", { class: "number lesser" }, percent(instances(row) / total)),
        el("td", { class: "lesser quiet" }, row[4] || "none"),
        el("td", { class: "drawn", "aria-hidden": "true" }, instances(row) ? bar(length(instances(row))) : ""))));
      heads.forEach((th, at) => th.setAttribute("aria-sort", columns[at][1] === view.by ? (view.up ? "ascending" : "descending") : "none"));
      const seen = Math.min(kept.length, view.n);
      status.textContent = (seen < kept.length ? `${whole(seen)} of ${whole(kept.length)} classes shown` : `${whole(kept.length)} classes`) + (view.log ? " · bars on a logarithmic scale" : "") + (leftOut ? ` · ${whole(leftOut)} smaller ones are in -o classes.csv` : "");
      more.hidden = seen >= kept.length;
      more.textContent = `Show ${whole(Math.min(STEP * 5, kept.length - seen))} more`;
    }
    const controls = el("div", { class: "controls" },
      data.splits.length > 1 ? el("label", {}, "split", el("select", { id: "split", onchange: (event) => { view.split = Number(event.target.value); draw(); } },
        el("option", { value: -1 }, "all together"), data.splits.map(([name], at) => el("option", { value: at }, name)))) : null,
      el("label", {}, el("input", { type: "checkbox", id: "log", onchange: (event) => { view.log = event.target.checked; draw(); } }), "logarithmic bars"),
      rows.length > 15 ? el("label", {}, "search", el("input", { type: "search", id: "search", oninput: (event) => { view.word = event.target.value; draw(); } })) : null);
    draw();
    return section("classes", "Classes", el("div", { class: "card" }, el("h3", {}, text(title)), el("p", { class: "quiet small note" }, data.boxed ? "Bars: instances. Rare: in up to 10 training images; common: up to 100; frequent: more." : "Bars: images. Rare: up to 10 training images; common: up to 100; frequent: more."),
      controls, el("div", { class: "scroll" }, el("table", { class: "classes" }, el("caption", { class: "hide" }, title), el("thead", {}, el("tr", {}, heads, el("th", { class: "drawn" }, el("span", { class: "hide" }, "bar")))), body)), status, more));
  }

  // Charts ------------------------------------------------------------------------------------------------------------

  const redraws = [];

  function chart({ title, note }, draw, numbers) {
    const holder = el("div", {});
    const paint = () => {
      const width = Math.max(260, Math.min(holder.clientWidth || 480, 700));
      const drawn = draw(width);
      drawn.setAttribute("role", "img");
      drawn.setAttribute("aria-label", `Chart: ${title}`);
      holder.replaceChildren(drawn);
    };
    redraws.push(paint);
    return el("figure", { class: "card" }, el("figcaption", {}, el("h3", {}, text(title)), note ? el("p", { class: "quiet small note" }, note) : null), holder,
      later({ class: "more" }, "The numbers", () => numbers()));
  }

  const frame = (width, height, ...children) => svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}` }, children);
  const label = (x, y, value, attributes) => svg("text", { x, y, ...attributes }, value);
  const line = (x1, y1, x2, y2, kind = "axis") => svg("line", { class: kind, x1, y1, x2, y2 });
  const tip = (node, words) => { node.append(svg("title", {}, words)); return node; };
  const shorter = (value, n) => [...value].length > n ? [...value].slice(0, n - 1).join("") + "…" : value;

  // A key: marks with their words, broken into lines where the width asks for it; gives the nodes and the height taken.
  function legend(width, y, entries) {
    let x = 0, row = 0;
    const nodes = entries.map(([mark, words]) => {
      const taken = 30 + words.length * 6.7;
      if (x > 0 && x + taken - 14 > width) { x = 0; row += 18; }
      const drawn = mark(x + 6, y + row + 6);
      x += taken;
      return [drawn, label(x - taken + 17, y + row + 10, words)];
    });
    return [nodes, row + 18];
  }
  const square = (kind) => (x, y) => svg("rect", { class: kind, x: x - 5, y: y - 5, width: 10, height: 10 });

  function background(c) {
    const total = c.parts.reduce((n, [, count]) => n + count, 0) || 1;
    const draw = (w) => {
      const y = c.band ? 34 : 6, parts = [], kinds = ["s0", "s1", "s4"];
      // Backgrounds start on the left, so that the policy's band is read on the same scale.
      const order = [1, 2, 0].filter((at) => c.parts[at][1] > 0);
      let x = 0;
      for (const at of order) {
        const part = w * c.parts[at][1] / total;
        parts.push(tip(svg("rect", { class: `${kinds[at]} edge`, x, y, width: Math.max(part, 1), height: 34 }), `${c.parts[at][0]}: ${whole(c.parts[at][1])}`));
        x += part;
      }
      const [keys, taken] = legend(w, y + 60, c.parts.map(([name, count], k) => [square(kinds[k]), `${name} ${whole(count)}`]).filter((_, k) => k < 2 || c.parts[k][1]));
      const band = [];
      if (c.band) {
        const [name, low, high] = c.band, a = low * w, b = high * w;
        band.push(svg("path", { class: "guide", d: `M${a + 1} ${y + 38}V${y - 8}H${b - 1}V${y + 38}`, "stroke-dasharray": "none" }));
        const words = `${name} policy: ${Math.round(low * 100)} to ${Math.round(high * 100)} % backgrounds`;
        band.push(label(Math.max(0, Math.min(a, w - words.length * 6.4)), y - 15, words, { class: "guided" }));
      }
      const ticks = [0, .25, .5, .75, 1].map((t) => label(t * w, y + 50, `${t * 100} %`, { class: "soft", "text-anchor": t === 0 ? "start" : t === 1 ? "end" : "middle" }));
      return frame(w, y + 62 + taken, parts, band, ticks, keys);
    };
    return chart(c, draw, () => table(["images", "count", "share"], c.parts.map(([name, n]) => [name, n, percent(n / total)]), c.title));
  }

  const NICE = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144];

  function resolution(c) {
    const draw = (w) => {
      const left = 46, right = 12, top = 22, bottom = 40, side = Math.min(w - left - right, 460), H = top + side * .72 + bottom, h = side * .72, wide = w - left - right;
      const near = c.sizes.flatMap(([a, b]) => [a, b]);
      // The inputs nearest to the typical picture say the most.
      const typical = Math.sqrt(c.sizes[0][0] * c.sizes[0][1]);
      const lines = c.memory.map(([name, batch, gib]) => [Number(name.split("x")[0]), name, batch, gib])
        .sort((a, b) => Math.abs(Math.log(a[0] / typical)) - Math.abs(Math.log(b[0] / typical))).filter((_, at, all) => at === 0 || at === 2).sort((a, b) => a[0] - b[0]);
      const sides = near.concat(lines.map(([s]) => s));
      const low = sides.reduce((a, b) => Math.min(a, b), Infinity) / 1.6, high = sides.reduce((a, b) => Math.max(a, b), 1) * 1.6;
      const span = Math.log(high / low);
      const X = (v) => left + wide * Math.log(v / low) / span, Y = (v) => top + h - h * Math.log(v / low) / span;
      const marks = NICE.filter((v) => v >= low && v <= high), every = Math.ceil(marks.length / 7);
      const ticks = marks.filter((_, at) => at % every === 0).flatMap((v) => [
        line(X(v), top, X(v), top + h), label(X(v), top + h + 16, whole(v), { class: "soft", "text-anchor": "middle" }),
        line(left, Y(v), left + wide, Y(v)), label(left - 6, Y(v) + 4, whole(v), { class: "soft", "text-anchor": "end" })]);
      const most = c.sizes[0][2];
      const dots = c.sizes.slice().map(([a, b, n]) => tip(svg("circle", { class: "dot", cx: X(a), cy: Y(b), r: Math.max(2.5, 13 * Math.sqrt(n / most)) }), `${a} × ${b}: ${whole(n)} images`));
      const guides = lines.map(([s, name, batch, gib]) => {
        const area = s * s, x1 = Math.max(low, area / high), x2 = Math.min(high, area / low), falls = x2 < high * .999;
        const words = `${name.replace("x", "×")}: ${gib.toFixed(1)} GiB at batch ${batch}`;
        return [line(X(x1), Y(area / x1), X(x2), Y(area / x2), "guide"),
          s === lines[0][0] ? label(X(x2) - (falls ? 20 : 3), Math.min(Y(area / x2) + 15, top + h - 6), words, { class: "guided", "text-anchor": "end" })
            : label(Math.min(X(x1), left + wide - words.length * 6.5), Y(area / x1) - 6, words, { class: "guided" })];
      });
      return frame(w, H, ticks, dots, guides, label(left + wide, H - 4, "width, px →", { class: "soft", "text-anchor": "end" }), label(0, H - 4, "↑ height, px", { class: "soft" }));
    };
    return chart(c, draw, () => [table(["width", "height", "images"], c.sizes, c.title), table(["input", "batch", "GiB"], c.memory, "Memory"), el("p", { class: "quiet small" }, c.assumes)]);
  }

  function shapes(c) {
    const half = Math.SQRT2;
    const draw = (w) => {
      const left = 40, right = 8, top = 22, bottom = 40, wide = w - left - right;
      const x0 = Math.min(16, ...c.cells.map((cell) => cell[0])), x1 = Math.max(192, ...c.cells.map((cell) => cell[0] * half));
      const y1 = Math.max(2, ...c.cells.flatMap((cell) => [cell[1] * half, 1 / cell[1]]));
      const h = Math.min(wide * .62, 280), H = top + h + bottom;
      const X = (v) => left + wide * Math.log(v / x0) / Math.log(x1 / x0), Y = (v) => top + h / 2 - h / 2 * Math.log(v) / Math.log(y1);
      const most = Math.max(...c.cells.map((cell) => cell[2]));
      const cells = c.cells.map(([s, a, n]) => tip(svg("rect", { class: "cell", x: X(s), y: Y(a * half), width: Math.max(1, X(s * half) - X(s) - 1), height: Math.max(1, Y(a) - Y(a * half) - 1), "fill-opacity": .12 + .88 * Math.sqrt(n / most) }),
        `${group(s)} to ${group(s * half)} px, ${group(a)} to ${group(a * half)} wide to high: ${whole(n)} boxes`));
      const marks = NICE.filter((v) => v >= x0 * .999 && v <= x1 * 1.001), every = Math.ceil(marks.length / (w / 55));
      const xs = marks.filter((_, at) => at % every === 0).map((v) => label(X(v), top + h + 16, whole(v), { class: "soft", "text-anchor": "middle" }));
      const ratios = (y1 > 9 ? [64, 16, 4] : [8, 4, 2]).filter((v) => v <= y1 * 1.001);
      const ys = [...ratios.map((v) => [v, `${v} : 1`]), [1, "1 : 1"], ...ratios.map((v) => [1 / v, `1 : ${v}`])]
        .map(([v, words]) => label(left - 5, Y(v) + 4, words, { class: "soft", "text-anchor": "end" }));
      const bands = [[x0, 32, 0], [32, 96, 1], [96, x1, 2]].map(([a, b, k]) => X(b) - X(a) > 50 ? label((X(a) + X(b)) / 2, top - 8, `${c.bands[k][0]} ${whole(c.bands[k][2])}`, { "text-anchor": "middle", class: "guided" }) : null);
      return frame(w, H, svg("rect", { class: "plain", x: left, y: top, width: wide, height: h }), line(left, Y(1), left + wide, Y(1)), cells,
        line(X(32), top, X(32), top + h, "guide"), line(X(96), top, X(96), top + h, "guide"), bands, xs, ys,
        label(left + wide, H - 4, "box size, px →", { class: "soft", "text-anchor": "end" }), label(0, H - 4, "↑ width : height", { class: "soft" }));
    };
    return chart(c, draw, () => [table(["boxes", "area", "count"], c.bands, "Sizes"), table(["size from, px", "aspect from", "boxes"], c.cells, c.title)]);
  }

  function centres(c) {
    const most = Math.max(1, ...c.grid.flat());
    const draw = (w) => {
      const typical = data.charts.resolution ? data.charts.resolution.sizes[0] : [4, 3];
      const ratio = Math.min(1, Math.max(.5, typical[1] / typical[0]));
      const left = 20, wide = Math.min(w - left, 460), h = wide * ratio, top = 4, start = left + (w - left - wide) / 2;
      const cells = c.grid.flatMap((row, y) => row.map((n, x) => tip(svg("rect", { class: "cell", x: start + x * wide / 10, y: top + y * h / 10, width: wide / 10 - 1, height: h / 10 - 1, "fill-opacity": n ? .1 + .9 * n / most : .03 }), `${whole(n)} box centres`)));
      return frame(w, top + h + 22, cells, svg("rect", { class: "plain", x: start - .5, y: top - .5, width: wide, height: h }),
        label(start, top + h + 16, "left", { class: "soft" }), label(start + wide, top + h + 16, "right edge of the picture", { class: "soft", "text-anchor": "end" }),
        svg("text", { class: "soft", transform: `translate(${start - 8} ${top + h}) rotate(-90)` }, "bottom"), svg("text", { class: "soft", "text-anchor": "end", transform: `translate(${start - 8} ${top}) rotate(-90)` }, "top"));
    };
    return chart(c, draw, () => table(["", ...c.grid.map((_, at) => `${at * 10} %`)], c.grid.map((row, at) => [`${at * 10} %`, ...row]), c.title));
  }

  function together(c) {
    const find = new Map(c.pairs.flatMap(([a, b, n, lift]) => [[JSON.stringify([a, b]), [n, lift]], [JSON.stringify([b, a]), [n, lift]]]));
    const most = Math.max(1, ...c.pairs.map((pair) => pair[2]));
    const draw = (w) => {
      const names = c.names, n = names.length, longest = Math.max(...names.map((name) => [...name].length));
      const left = Math.min(w * .36, 30 + longest * 6.8), cell = Math.min((w - left) / n, 52), high = Math.min(cell, 30), top = 20;
      const fits = Math.floor((left - 22) / 6.4);
      const rows = names.flatMap((name, y) => [
        label(0, top + y * high + high / 2 + 4, `${y + 1}`, { class: "soft" }),
        tip(label(20, top + y * high + high / 2 + 4, shorter(name, Math.max(4, fits))), name),
        label(left + y * cell + cell / 2, 12, `${y + 1}`, { class: "soft", "text-anchor": "middle" }),
        ...names.slice(0, y).flatMap((other, x) => {
          const [count, lift] = find.get(JSON.stringify([name, other])) || [0, 0];
          const share = count / most, words = count >= 10000 ? `${Math.round(count / 1000)}k` : String(count);
          return [tip(svg("rect", { class: "cell", x: left + x * cell, y: top + y * high, width: cell - 1, height: high - 1, "fill-opacity": count ? .1 + .6 * Math.sqrt(share) : .03 }), `${name} and ${other}: ${whole(count)} images, lift ${lift.toFixed(2)}`),
            count && words.length * 6.4 < cell - 3 ? label(left + (x + .5) * cell, top + y * high + high / 2 + 4, words, { "text-anchor": "middle", "font-size": 11 }) : null];
        })]);
      return frame(w, top + n * high + 4, rows);
    };
    return chart(c, draw, () => table(["class", "class", "images", "lift"], c.pairs, c.title));
  }

  const SHAPES = [
    (x, y) => svg("circle", { cx: x, cy: y, r: 5.5 }), (x, y) => svg("rect", { x: x - 5, y: y - 5, width: 10, height: 10 }),
    (x, y) => svg("path", { d: `M${x} ${y - 6.5}L${x + 6.5} ${y + 5}H${x - 6.5}Z` }), (x, y) => svg("path", { d: `M${x} ${y - 7}L${x + 6} ${y}L${x} ${y + 7}L${x - 6} ${y}Z` }),
    (x, y) => svg("path", { d: `M${x} ${y + 6.5}L${x + 6.5} ${y - 5}H${x - 6.5}Z` })];

  function splits(c) {
    const used = data.splits.map((row, at) => [at, row]).filter(([, row]) => row[2] > 0).slice(0, 5);
    const rows = data.classes.rows.filter((row) => row[3] > 0).slice(0, 12);
    const share = (row, at) => row[6 + 2 * at] / data.splits[at][2];
    const draw = (w) => {
      const longest = Math.max(...rows.map((row) => [...row[0]].length)), left = Math.min(w * .36, 14 + longest * 6.8), step = 24, wide = w - left - 14;
      const most = Math.max(.0001, ...rows.flatMap((row) => used.map(([at]) => share(row, at))));
      const marked = (k, x, y, kind) => { const mark = SHAPES[k](x, y); mark.setAttribute("class", `s${k} ${kind}`); return mark; };
      const [keys, taken] = legend(w, 2, used.map(([, row], k) => [(x, y) => marked(k, x, y, ""), `${shorter(row[0], 14)} ${whole(row[1])}`]));
      const top = taken + 8, H = top + rows.length * step + 22;
      const body = rows.map((row, at) => {
        const y = top + at * step + step / 2, values = used.map(([split]) => share(row, split));
        return [tip(label(0, y + 4, shorter(row[0], Math.max(5, Math.floor((left - 10) / 6.6)))), row[0]), line(left, y, left + wide, y),
          svg("line", { stroke: "var(--quiet)", "stroke-width": 2, x1: left + wide * Math.min(...values) / most, x2: left + wide * Math.max(...values) / most, y1: y, y2: y }),
          used.map(([split, info], k) => tip(marked(k, left + wide * share(row, split) / most, y + (k - (used.length - 1) / 2) * 3, "edge"), `${row[0]} in ${info[0]}: ${percent(share(row, split))}`))];
      });
      return frame(w, H, keys, body, label(left, H - 4, "0 %", { class: "soft" }), label(left + wide, H - 4, percent(most), { class: "soft", "text-anchor": "end" }));
    };
    const note = `Share of each class in each split${rows.length < data.classes.rows.length ? `, the ${rows.length} largest classes` : ""}. The key gives the images of each split.`;
    return chart({ ...c, note }, draw, () => [
      table(["split", "images", "instances", "background", "unlabelled"], data.splits, "Splits"),
      table(["class", ...used.map(([, row]) => row[0])], rows.map((row) => [row[0], ...used.map(([at]) => percent(share(row, at)))]), c.title)]);
  }

  function charts() {
    const c = data.charts;
    const drawn = [c.background && background(c.background), c.resolution && resolution(c.resolution), c.shapes && shapes(c.shapes), c.centres && centres(c.centres), c.together && together(c.together), c.splits && splits(c.splits)].filter(Boolean);
    const facts = el("details", { class: "more" }, el("summary", {}, "All figures in words"), el("dl", { class: "keys loose" }, data.facts.map(([name, phrases]) => [el("dt", {}, name), el("dd", {}, text(phrases.join(" · ")))])));
    return section("pictures", "Pictures and boxes", drawn.length ? el("div", { class: "pair" }, drawn) : el("p", { class: "quiet" }, "Nothing to draw."), facts);
  }

  // Duplicates --------------------------------------------------------------------------------------------------------

  function pairs() {
    const found = data.findings.filter((f) => f.groups.length);
    if (!found.length) return null;
    return section("pairs", "Duplicates and leakage", found.map((finding) => el("div", { class: finding.severity }, el("h3", { class: "group" }, badge(finding.severity), " ", text(finding.message), " ", el("a", { class: "small", href: `#${finding.code}` }, finding.code)),
      el("div", { class: "together" }, finding.groups.map((members) => el("div", { class: "card" },
        pictures(members.slice(0, 4).map(([picture, name, split, labels, boxes]) => ({ picture, name, boxes, note: [split === "all" ? "" : split, labels].filter(Boolean).join(": ") }))),
        members.length > 4 ? el("p", { class: "small quiet" }, `… and ${whole(members.length - 4)} more`) : null))),
      finding.total > finding.groups.flat().length ? el("p", { class: "small quiet" }, `${whole(finding.groups.length)} groups shown; ${whole(finding.total)} places in all`) : null)));
  }

  // How it was made ---------------------------------------------------------------------------------------------------

  function made() {
    const { command, rows, not_run: notRun } = data.made;
    return section("made", "How it was made", el("div", { class: "card todo" }, commandLine(command),
      el("dl", { class: "keys loose" }, rows.map(([name, value]) => [el("dt", {}, name), el("dd", { class: "data" }, value)]),
        el("dt", {}, "not run"), el("dd", {}, notRun.length ? el("ul", { class: "places" }, notRun.map(([reason, codes]) => el("li", {}, text(`${codes.join(", ")}: ${reason}`)))) : "nothing: every check that was asked for ran"))));
  }

  // The page ----------------------------------------------------------------------------------------------------------

  const live = el("p", { class: "hide", role: "status" });
  const say = (words) => { live.textContent = words; };

  function section(id, title, ...children) {
    return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), children);
  }

  const sections = [whatToDo(), findings(), classes(), charts(), pairs(), made()].filter(Boolean);
  const counts = { todo: data.recommendations.length, findings: data.findings.length, classes: data.classes.rows.length + data.classes.left_out };
  const bar_ = el("nav", { "aria-label": "Contents" }, el("ul", {}, sections.map((node) => el("li", {},
    el("a", { href: `#${node.id}` }, node.querySelector("h2").textContent, counts[node.id] ? el("span", { class: "n" }, ` ${whole(counts[node.id])}`) : null)))));
  document.body.prepend(el("a", { class: "skip", href: "#main" }, "Skip to the report"), head(), bar_, el("main", { id: "main", tabindex: "-1" }, sections),
    el("footer", { class: "quiet small" }, "This page stands alone: it loads nothing and sends nothing. dataset-doctor."), live);

  const paint = () => redraws.forEach((one) => one());
  paint();
  let waiting = 0, wide = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; cancelAnimationFrame(waiting); waiting = requestAnimationFrame(paint); } });

  // A link to a finding opens it; what is printed is open.
  const arrive = () => { const node = document.getElementById(decodeURIComponent(location.hash.slice(1))); if (node?.make) { node.hidden = false; node.make(); node.open = true; node.scrollIntoView(); } };
  addEventListener("hashchange", arrive);
  arrive();
  let shut = [];
  addEventListener("beforeprint", () => { shut = [...document.querySelectorAll("details.finding:not([open])")]; shut.forEach((node) => { node.make(); node.open = true; }); });
  addEventListener("afterprint", () => { shut.forEach((node) => { node.open = false; }); });
})();
