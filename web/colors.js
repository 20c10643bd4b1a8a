// Colours of the boxes, from the style sheet, so that light and dark are told in one place.
//
// Each kind has its own hue and its own lightness: the kinds differ for a colour-blind reader and in grey print too.
// Within a kind, a box's name picks one of a few shades, so that neighbours can be told apart.

const SHADES = 4;
const KIND_COLORS = ["level", "python", "native", "kernel", "incomplete", "interpreter", "level", "level"];

function readColors() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  const step = Number(value("shade-step"));
  const deeper = Number(value("match-step"));
  const bases = KIND_COLORS.map((name) => value(`box-${name}`).split(/\s+/).map(Number));
  const shades = ([lightness, chroma, hue]) =>
    Array.from({ length: SHADES }, (_, shade) => `oklch(${lightness + (shade - 1) * step} ${chroma} ${hue})`);
  return {
    kinds: bases.map(shades),
    matched: bases.map(([lightness, chroma, hue]) => `oklch(${lightness + deeper} ${chroma * 1.5} ${hue})`),
    faded: value("box-faded"), text: value("box-text"), fadedText: value("box-faded-text"),
    place: value("box-place"), background: value("graph"), accent: value("accent"), hatch: value("box-hatch"),
  };
}

// The shade of an entry: the same one on every page that has the name.
function shadeOf(names, entry) {
  const row = names.functionRow(entry);
  if (row < 0) return 1;
  const text = names.profile.strings[names.profile.function_name[row]];
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 8) % SHADES;
}
