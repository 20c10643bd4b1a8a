// What the data block of a page holds (docs/formats/html.md).

/** "None" in a column of row numbers. */
export const NONE = 0xffffffff;

export interface Information {
  viperf_version: string;
  hostname: string;
  kernel: string;
  started_unix_ms: number;
  duration_ns: number;
  period_ns: number;
  rate_hz: number;
  target: string;
}

export interface Process {
  pid: number;
  name: number;
  command_line: number;
  python_version: number | null;
}

export interface Thread {
  process: number;
  tid: number;
  name: number;
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
  strings: string[];
  processes: Process[];
  threads: Thread[];
  columns: [name: string, type: string, length: number][];
}

/** Head and columns. */
export interface Profile extends Head {
  function_name: Uint32Array;
  function_file: Uint32Array;
  function_library: Uint32Array;
  function_line: Uint32Array;
  function_kind: Uint8Array;
  frame_function: Uint32Array;
  frame_line: Uint32Array;
  node_back: Uint32Array;
  node_row: Uint32Array;
  sample_step: Uint32Array;
  sample_node: Uint32Array;
  sample_cpu: Uint32Array;
  sample_complete: Uint8Array;
  sample_weight?: Float64Array;
}
