// What a box is. Functions have the numbers 1 to 5 in the data (crates/encode/src/html/data.rs).

export const KIND_ROOT = 0;
export const KIND_PYTHON = 1;
export const KIND_NATIVE = 2;
export const KIND_KERNEL = 3;
export const KIND_INCOMPLETE = 4;
export const KIND_INTERPRETER = 5;
export const KIND_PROCESS = 6;
export const KIND_THREAD = 7;
export const KIND_GROUP = 8;

export const KIND_NAMES = [
  "whole profile", "Python", "native", "kernel", "incomplete", "interpreter", "process", "thread", "collapsed",
];
