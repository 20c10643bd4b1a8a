// Numbers as people read them.

const COUNT_FORMAT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function formatCount(count, singular, plural = `${singular}s`) {
  return `${COUNT_FORMAT.format(count)} ${count === 1 ? singular : plural}`;
}

function formatShare(part, whole) {
  if (!(whole > 0)) return "0 %";
  const percent = part / whole * 100;
  if (percent > 0 && percent < 0.01) return "<0.01 %";
  return `${percent.toFixed(percent < 10 && percent > 0 ? 2 : 1)} %`;
}

function formatTime(nanoseconds) {
  if (nanoseconds === 0) return "0 s";
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    const value = nanoseconds / size;
    if (value >= 1) return `${value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${unit}`;
  }
  return `${nanoseconds} ns`;
}

function formatDuration(nanoseconds) {
  const seconds = nanoseconds / 1e9;
  if (seconds < 120) return formatTime(nanoseconds);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// The reader's own time zone, named: a profile may come from anywhere.
function formatInstant(milliseconds) {
  const parts = { dateStyle: "medium", timeStyle: "long", hourCycle: "h23" };
  return new Intl.DateTimeFormat("en-GB", parts).format(new Date(milliseconds));
}

// A value of the tree: the time it stands for, and its samples where the two are one.
class Scale {
  constructor(profile, whole) {
    this.nanoseconds = profile.node_weight ? 1 : profile.weight_ns;
    this.countsSamples = !profile.node_weight;
    this.whole = whole;
  }

  time(value) {
    return this.nanoseconds === 0 ? "" : formatTime(value * this.nanoseconds);
  }

  samples(value) {
    return this.countsSamples ? formatCount(value, "sample") : "";
  }

  share(value) {
    return formatShare(value, this.whole);
  }

  // Time and samples, whichever are known.
  amount(value) {
    return [this.time(value), this.samples(value)].filter(Boolean).join(", ");
  }
}
