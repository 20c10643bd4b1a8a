// What was profiled: the head line, the details, the legend, the keys.

function processesAndThreads(profile) {
  const processes = formatCount(profile.processes.length, "process", "processes");
  return `${processes}, ${formatCount(profile.threads.length, "thread")}`;
}

function renderHead(profile, target, facts) {
  const { information } = profile;
  const name = printable(information.target) || "profile";
  document.title = `${name} – viperf`;
  target.textContent = name;
  target.title = name;
  const complete = element("span", {}, profile.samples === 0 ? "" : `${formatShare(profile.complete, profile.samples)} complete`);
  const parts = [
    element("span", {}, formatCount(profile.samples, "sample")),
    element("span", {}, information.rate_hz ? `${COUNT_FORMAT.format(information.rate_hz)} Hz` : ""),
    element("span", {}, information.duration_ns ? formatDuration(information.duration_ns) : ""),
    element("span", {}, processesAndThreads(profile)),
    complete,
    element("span", { class: "warn" }, profile.lost ? `${COUNT_FORMAT.format(profile.lost)} lost` : ""),
  ];
  facts.replaceChildren(...parts.filter((part) => part.textContent));
}

function closeForm() {
  return element("form", { method: "dialog" }, element("button", { class: "quiet", "aria-label": "Close" }, "Close"));
}

function factTable(rows) {
  return element("table", {}, ...rows.filter(([, value]) => value).map(([title, value]) =>
    element("tr", {}, element("th", {}, title), element("td", {}, value))));
}

function renderDetails(profile, dialog) {
  const { information } = profile;
  const text = (value) => printable(value ?? "");
  const started = information.started_unix_ms ? formatInstant(information.started_unix_ms) : "";
  const period = information.period_ns ? `one sample stands for ${formatTime(information.period_ns)}` : "";
  const rate = information.rate_hz ? `${COUNT_FORMAT.format(information.rate_hz)} Hz asked for` : "";
  const parts = [closeForm(), element("h2", { id: "details-title" }, "About this profile"), factTable([
    ["Target", text(information.target)],
    ["Machine", [text(information.hostname), information.kernel && `Linux ${text(information.kernel)}`].filter(Boolean).join(", ")],
    ["Started", started],
    ["Duration", information.duration_ns ? formatDuration(information.duration_ns) : ""],
    ["Rate", [rate, period].filter(Boolean).join("; ")],
    ["Samples", `${COUNT_FORMAT.format(profile.samples)}, of which ${COUNT_FORMAT.format(profile.complete)} complete`],
    ["Lost", profile.lost ? `${COUNT_FORMAT.format(profile.lost)} that the kernel took and that never arrived` : "none"],
    ["Written by", information.viperf_version && `viperf ${text(information.viperf_version)}`],
  ])];
  const reasons = Object.entries(profile.incomplete).sort((a, b) => b[1] - a[1]);
  if (reasons.length) {
    parts.push(element("h3", {}, "Why samples are incomplete"), element("table", {}, ...reasons.map(([reason, count]) =>
      element("tr", {}, element("td", {}, printable(reason)), element("td", { class: "number" }, COUNT_FORMAT.format(count)),
        element("td", { class: "number" }, formatShare(count, profile.samples))))));
  }
  parts.push(element("h3", {}, processesAndThreads(profile)), element("table", {}, ...profile.processes.map((process) => {
    const string = (index) => text(profile.strings[index]);
    const version = process.python_version === null ? "" : `Python ${string(process.python_version)}`;
    return element("tr", {}, element("th", {}, `${string(process.name)} (${process.pid})`),
      element("td", {}, string(process.command_line)), element("td", { class: "number" }, version));
  })));
  dialog.replaceChildren(...parts);
}

const KEYS = [
  ["/", "search"], ["n", "next match, the largest first"], ["N", "previous match"],
  ["Enter", "zoom to the outlined box"], ["Escape", "one zoom back; leave the search"], ["r", "reset: everything, no search"],
  ["← →", "outline the box beside"], ["↑ ↓", "outline the box above or below"],
  ["i", "root on top or at the bottom"], ["t", "flame graph or functions"], ["d", "light or dark"], ["?", "these keys"],
];

function renderHelp(dialog) {
  const row = ([keys, text]) => element("tr", {},
    element("th", {}, ...keys.split(" ").flatMap((key) => [element("kbd", {}, key), " "])), element("td", {}, text));
  dialog.replaceChildren(closeForm(), element("h2", { id: "help-title" }, "Keys"), element("table", {}, ...KEYS.map(row)));
}

// The share of each kind is that of the frame that was running, so the shares add up to the whole.
function renderLegend(profile, graph, tree, names, legend) {
  const shares = new Float64Array(KIND_NAMES.length);
  for (let node = 0; node < tree.size; node++) shares[names.kind(tree.entry[node])] += tree.self[node];
  const kinds = [KIND_PYTHON, KIND_NATIVE, KIND_KERNEL, KIND_INCOMPLETE, KIND_INTERPRETER]
    .filter((kind) => shares[kind] > 0 || kind <= KIND_KERNEL);
  const title = "of the time, by the frame that was running";
  const parts = kinds.map((kind) => element("span", { title: `${formatShare(shares[kind], tree.total[0])} ${title}` },
    swatch(graph, kind), `${KIND_NAMES[kind][0].toUpperCase()}${KIND_NAMES[kind].slice(1)} ${formatShare(shares[kind], tree.total[0])}`));
  parts.push(element("span", {}, swatch(graph, KIND_PROCESS), "Process, thread"));
  const version = profile.information.viperf_version;
  parts.push(element("span", { class: "version" }, version ? `viperf ${printable(version)}` : "viperf"));
  legend.replaceChildren(...parts);
}

function renderEmpty(profile, message) {
  const reasons = Object.keys(profile.incomplete).map(printable);
  message.replaceChildren(element("h2", {}, "No samples were taken"),
    element("p", {}, "Samples are taken while a thread runs on a CPU. What was profiled may have slept, waited or ended."),
    element("p", {}, "Record for longer, at a higher rate, or while there is work to do."),
    element("p", {}, profile.lost ? `${formatCount(profile.lost, "sample was", "samples were")} lost.` : ""),
    element("p", {}, reasons.length ? `Seen on the way: ${reasons.join(", ")}.` : ""));
  message.hidden = false;
}
