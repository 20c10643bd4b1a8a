// What buttons, keys and the pointer do.

function openDialog(dialog, render) {
  render(dialog);
  dialog.showModal();
}

function connectDialogs(profile) {
  byId("details-button").addEventListener("click", () => openDialog(byId("details"), (dialog) => renderDetails(profile, dialog)));
  byId("help-button").addEventListener("click", () => openDialog(byId("help"), renderHelp));
  for (const dialog of ["details", "help"]) {
    byId(dialog).addEventListener("click", (event) => {
      if (event.target === byId(dialog)) byId(dialog).close();
    });
  }
}

function connectControls(page) {
  connectDialogs(page.profile);
  byId("graph-tab").addEventListener("click", () => page.show("graph"));
  byId("table-tab").addEventListener("click", () => page.show("table"));
  byId("reset").addEventListener("click", () => page.reset());
  byId("search").addEventListener("input", () => page.search());
  byId("search").addEventListener("change", () => page.store("replaceState"));
  byId("search-regex").addEventListener("click", () => page.setSearch(byId("search").value, !page.regex));
  byId("search-next").addEventListener("click", () => page.step(1));
  byId("search-previous").addEventListener("click", () => page.step(-1));
  for (const box of document.querySelectorAll("[data-view]")) {
    box.checked = page.view[box.dataset.view];
    box.addEventListener("change", () => {
      page.view = { ...page.view, [box.dataset.view]: box.checked };
      page.rebuild();
    });
  }
  for (const radio of document.querySelectorAll("[name=orientation]")) {
    radio.checked = (radio.value === "flame") === page.graph.flame;
    radio.addEventListener("change", () => page.graph.setFlame(radio.value === "flame"));
  }
  addEventListener("pointerdown", (event) => {
    if (!event.target.closest?.("#view-menu")) byId("view-menu").open = false;
  });
}

function connectPointer(page) {
  const { graph, tooltip } = page;
  const at = (event) => {
    const bounds = graph.canvas.getBoundingClientRect();
    return graph.nodeAt(event.clientX - bounds.left, event.clientY - bounds.top);
  };
  const leave = () => {
    graph.setHover(-1);
    tooltip.hide();
  };
  graph.canvas.addEventListener("pointermove", (event) => {
    const node = at(event);
    graph.scroller.classList.toggle("over-box", node >= 0);
    if (node < 0) return leave();
    tooltip.show(node, event.clientX, event.clientY);
    if (node !== graph.hover) graph.setHover(node);
  });
  graph.canvas.addEventListener("pointerleave", leave);
  graph.scroller.addEventListener("scroll", () => tooltip.hide(), { passive: true });
  graph.canvas.addEventListener("click", (event) => {
    const node = at(event);
    if (node < 0) return;
    page.select(-1);
    page.zoom(node);
  });
}

// The box that an arrow leads to from the outlined one, or the zoomed one when there is no outline.
function neighbour(page, key) {
  const { tree, graph } = page;
  const from = graph.selected < 0 ? graph.zoom : graph.selected;
  const up = graph.flame ? "ArrowDown" : "ArrowUp", down = graph.flame ? "ArrowUp" : "ArrowDown";
  if (graph.selected < 0 && key !== down) return from;
  if (key === up) return from > 0 ? tree.parent[from] : from;
  if (key === down) return tree.firstChild[from] < tree.firstChild[from + 1] ? tree.firstChild[from] : from;
  const next = key === "ArrowRight" ? from + 1 : from - 1;
  return tree.depth[next] === tree.depth[from] ? next : from;
}

function toggleOrientation(page) {
  page.graph.setFlame(!page.graph.flame);
  for (const radio of document.querySelectorAll("[name=orientation]")) {
    radio.checked = (radio.value === "flame") === page.graph.flame;
  }
}

const KEY_ACTIONS = {
  "/": (page) => { byId("search").focus(); byId("search").select(); },
  n: (page) => page.step(1),
  N: (page) => page.step(-1),
  r: (page) => page.reset(),
  i: toggleOrientation,
  t: (page) => page.show(page.tab === "graph" ? "table" : "graph"),
  d: (page) => page.theme.toggle(),
  "?": () => openDialog(byId("help"), renderHelp),
  Escape: (page) => page.back(),
};

function handleSearchKey(page, event) {
  const field = event.target;
  if (event.key === "Enter") page.step(event.shiftKey ? -1 : 1);
  else if (event.key === "Escape" && field.value) page.setSearch("", page.regex);
  else if (event.key === "Escape") field.blur();
  else return;
  event.preventDefault();
}

function connectKeys(page) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target === byId("search")) return handleSearchKey(page, event);
    if (event.key === "Escape" && byId("view-menu").open) {
      byId("view-menu").open = false;
      return;
    }
    const inControl = event.target.closest?.("button, input, summary");
    if (page.tab === "graph" && !inControl && event.key.startsWith("Arrow")) page.select(neighbour(page, event.key));
    else if (page.tab === "graph" && !inControl && event.key === "Enter" && page.graph.selected >= 0) page.zoom(page.graph.selected);
    else if (Object.hasOwn(KEY_ACTIONS, event.key)) KEY_ACTIONS[event.key](page);
    else return;
    event.preventDefault();
  });
}

// Renders the state into the controls

function renderSearch(page, error) {
  const result = byId("search-result");
  const { found, tree } = page.graph;
  byId("search").classList.toggle("wrong", error !== "");
  result.classList.toggle("wrong", error !== "");
  result.title = error;
  byId("search-next").disabled = byId("search-previous").disabled = !found || found.tops.length === 0;
  if (error || !found) {
    result.replaceChildren(error);
    return;
  }
  const place = found.at < 0 ? formatCount(found.tops.length, "match", "matches") : `${found.at + 1} of ${found.tops.length}`;
  result.replaceChildren(element("strong", {}, formatShare(found.value, tree.total[0])), ` in ${place}`);
  result.title = `${page.scale.amount(found.value)} in ${formatCount(found.boxes, "box", "boxes")}`;
}

const PATH_ENDS = 3;

// all › process › thread › … › the last few
function renderPath(page) {
  const { tree, names, scale } = page;
  const { zoom } = page.graph;
  const nodes = [];
  for (let node = zoom; node >= 0; node = tree.parent[node]) nodes.unshift(node);
  const parts = [];
  nodes.forEach((node, index) => {
    const isEnd = index < PATH_ENDS || index >= nodes.length - PATH_ENDS;
    if (!isEnd && index !== PATH_ENDS) return;
    if (parts.length) parts.push(element("span", { class: "step", "aria-hidden": "true" }, "›"));
    if (!isEnd) return parts.push(element("span", { class: "step" }, `… ${nodes.length - 2 * PATH_ENDS} …`));
    const name = names.name(tree.entry[node], tree.view);
    const button = element("button", { type: "button", title: name }, name);
    if (node === zoom) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => page.zoom(node));
    parts.push(button);
  });
  const share = zoom > 0 ? `${scale.share(tree.total[zoom])} of all, ${scale.amount(tree.total[zoom])}` : scale.amount(tree.total[zoom]);
  parts.push(element("span", { class: "share" }, share));
  byId("path").replaceChildren(...parts);
}
