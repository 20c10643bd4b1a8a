// What the data block of a page holds (docs/formats/html.md).

/** "None" in a column of row numbers. */
export const NONE = 0xffffffff;

/** What the recording has cost the machine; each is 0 when not known. */
export interface Cost {
  /** In viperf's programs in the kernel, over samples and lost samples together. */
  bpf_time_ns: number;
  cpu_time_ns: number;
  peak_memory_bytes: number;
  bpf_map_bytes: number;
  first_sample_ns: number | null;
  /** Samples per second and CPU where a budget had lowered the rate most. */
  lowest_rate_hz?: number;
}

export interface Information {
  viperf_version: string;
  hostname: string;
  kernel: string;
  started_unix_ms: number;
  duration_ns: number;
  period_ns: number;
  rate_hz: number;
  target: string;
  /** Not there where nothing of it is known. */
  cost?: Cost;
}

export interface Process {
  pid: number;
  name: number;
  command_line: number;
  python_version: number | null;
  parent?: number | null;
  /** What it runs, where that is more than its name says. */
  title?: number | null;
  /** Where it runs, by name: `container_name`, `pod`, `unit`; only what is known. */
  placement?: Record<string, number>;
}

export interface Thread {
  process: number;
  tid: number;
  name: number;
}

/** The text of one source file. */
export interface SourceText {
  path: string;
  text: string;
  /** The file was written after the recording. */
  changed_since: boolean;
}

/** One of the two recordings of a comparison. */
export interface ComparedRecording {
  name: string;
  target: string;
  hostname: string;
  started_unix_ms: number;
  duration_ns: number;
  rate_hz: number;
}

/** What a page of two recordings says of them: the base, then the new one. */
export interface Comparison {
  normalize: "samples" | "time";
  sides: [ComparedRecording, ComparedRecording];
}

/** What the data of a served page is part of. */
export interface Served {
  /** What to send when asking for what is newer. */
  position: string;
  /** The rows continue those that the page has. */
  append: boolean;
  state: "file" | "recording" | "ended";
  /** Samples per second over the last moments. */
  rate_achieved: number;
  /** The files to choose from; empty when there is no choice. */
  files: string[];
  file: number | null;
  /** The one that `file` is compared with. */
  base?: number | null;
  /** Whether texts of source files came with the data, are to be asked for, or were not allowed. */
  sources?: "given" | "asked" | "refused";
  notice: string;
}

/** The JSON in front of the columns. */
export interface Head {
  format: number;
  information: Information;
  samples: number;
  complete: number;
  lost: number;
  incomplete: Record<string, number>;
  /** What every sample weighs; 0 when there is a column of weights. */
  weight_ns: number;
  time_unit_ns: number;
  view: { threads: boolean; merge_processes: boolean; interpreter_frames: boolean };
  comparison?: Comparison;
  /** Texts of source files, where a server gives the data. */
  sources?: SourceText[];
  strings: string[];
  processes: Process[];
  threads: Thread[];
  columns: [name: string, type: string, length: number][];
  served?: Served;
}

/** Head and columns. */
export interface Profile extends Head {
  function_name: Uint32Array;
  function_file: Uint32Array;
  function_library: Uint32Array;
  function_line: Uint32Array;
  function_kind: Uint8Array;
  /** Functions of one name in one module have one number: a comparison takes them for one. */
  function_group: Uint32Array;
  /** Whose code it is: 0 the project's, 1 an installed package's, 2 the standard library's, 3 not Python. */
  function_origin: Uint8Array;
  /** When it takes the GIL: 0 never, 1 always, 2 when the interpreter calls it, 3 when the eval loop does; 4 more for the interpreter's own; not there where it is not known. */
  function_gil?: Uint8Array;
  frame_function: Uint32Array;
  frame_line: Uint32Array;
  node_back: Uint32Array;
  node_row: Uint32Array;
  sample_step: Uint32Array;
  sample_node: Uint32Array;
  sample_cpu: Uint32Array;
  sample_complete: Uint8Array;
  sample_weight?: Float64Array;
  /** The distinct ranges of source that innermost Python frames were in, and each sample's; not there where none is known. */
  range_line?: Uint32Array;
  range_end_line?: Uint32Array;
  range_column?: Uint32Array;
  range_end_column?: Uint32Array;
  sample_range?: Uint32Array;
  /** Of a comparison: 0 for the base's samples, 1 for the new recording's. */
  sample_side?: Uint8Array;
}
