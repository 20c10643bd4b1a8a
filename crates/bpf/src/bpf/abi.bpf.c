// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
//
// Never loaded: compiled for its BTF, which the test compares with the Rust mirror. A type that is used only inside a
// function never reaches BTF; a global pointer to it anchors it.
#include "viperf_abi.h"

enum limit *anchor_limit;
enum record_kind *anchor_record_kind;
enum word_kind *anchor_word_kind;
enum reason *anchor_reason;
enum rule_kind *anchor_rule_kind;
enum rbp_rule *anchor_rbp_rule;
enum layout_flag *anchor_layout_flag;
enum process_flag *anchor_process_flag;
enum sample_flag *anchor_sample_flag;
enum code_flag *anchor_code_flag;
enum line_table_kind *anchor_line_table_kind;
enum lost *anchor_lost;
struct unwind_row *anchor_unwind_row;
struct row_table *anchor_row_table;
struct mapping *anchor_mapping;
struct python_layout *anchor_python_layout;
struct process *anchor_process;
struct record_header *anchor_record_header;
struct sample_record *anchor_sample_record;
struct stack_record *anchor_stack_record;
struct text_header *anchor_text_header;
struct code_record *anchor_code_record;
struct process_record *anchor_process_record;
struct capture_record *anchor_capture_record;
struct thread_record *anchor_thread_record;
enum thread_flag *anchor_thread_flag;
struct gil_places *anchor_gil_places;
struct code_key *anchor_code_key;
struct code_identity *anchor_code_identity;
struct configuration *anchor_configuration;
