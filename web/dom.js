// Elements. Texts of the profile enter the page only here, as text nodes: a name is never read as HTML.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

function swatch(graph, kind) {
  const made = element("span", { class: kind === KIND_INCOMPLETE ? "swatch hatched" : "swatch" });
  made.style.backgroundColor = graph.colors.kinds[kind][1];
  return made;
}
