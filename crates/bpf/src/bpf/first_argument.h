/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * The class of a method, by its first argument: code objects have no qualified name before 3.11.
 *
 * User space finds in the class which of its bases defines the method, and its qualified name. The name copied here is for
 * processes that are gone by then.
 */
#ifndef VIPERF_FIRST_ARGUMENT_H
#define VIPERF_FIRST_ARGUMENT_H

#include "code_text.h"

enum {
	/* Arguments that inner functions use are in cells; so many are looked through for the first argument's. */
	MAX_CELLS = 16,
	/* Py_TPFLAGS_TYPE_SUBCLASS: its instances are types. */
	TYPE_SUBCLASS = 1u << 31,
	/* PyInstanceObject.in_class, PyClassObject.cl_name and the bytes of PyStringObject (2.7). */
	INSTANCE_CLASS = 16,
	OLD_CLASS_NAME = 32,
};

static __always_inline u64 read_word(u64 address)
{
	u64 word = 0;

	read_user(&word, sizeof(word), address);
	return word;
}

/* Whether the string at `address` is "self" or "cls"; both kinds of string end with a NUL. */
static __always_inline int names_the_class(struct scratch *s, u64 address)
{
	char name[8] = {};

	if (read_user(name, 5, address + s->process.layout.text_ascii_data))
		return 0;
	if (name[0] == 's')
		return name[1] == 'e' && name[2] == 'l' && name[3] == 'f' && !name[4];
	return name[0] == 'c' && name[1] == 'l' && name[2] == 's' && !name[3];
}

/* The first argument of the frame in hand, whose code object is in `code_block`; 0 when it has been deleted. */
static __always_inline u64 first_argument(struct scratch *s, u64 name)
{
	const struct python_layout *layout = &s->process.layout;
	u64 locals = s->python.frame + layout->frame_locals;
	u64 argument = read_word(locals);
	u64 cells, count;
	u32 local_count;

	if (argument)
		return argument;
	/* Moved into a cell: these follow the plain locals, in the order of co_cellvars. */
	local_count = block_u64(s->code_block, layout->code_local_count, CODE_BLOCK_BYTES);
	cells = block_u64(s->code_block, layout->code_cell_names, CODE_BLOCK_BYTES);
	count = read_word(cells + layout->bytes_size);
	for (u64 i = 0; i < MAX_CELLS && i < count; i++)
		/* PyCellObject.ob_ref follows the header. */
		if (read_word(cells + layout->tuple_items + 8 * i) == name)
			return read_word(read_word(locals + 8 * ((u64)local_count + i)) + layout->object_type + 8);
	return 0;
}

/* Whether a type's name is `expected`, of at most 15 characters. */
static __always_inline int is_type_named(struct scratch *s, u64 type, const char *expected, u32 size)
{
	char name[16] = {};

	if (read_user(name, size, read_word(type + s->process.layout.type_name)))
		return 0;
	for (u32 i = 0; i < size; i++)
		if (name[i] != expected[i])
			return 0;
	return 1;
}

/* The class that an object belongs to, or that it is. `*old` is set for an old-style class (2.7). */
static __always_inline u64 class_of(struct scratch *s, u64 object, int *old)
{
	static const char instance[] = "instance", classobj[] = "classobj";
	const struct python_layout *layout = &s->process.layout;
	u64 type = read_word(object + layout->object_type);

	if (read_word(type + layout->type_flags) & TYPE_SUBCLASS)
		return object;
	if (layout->flags & LAYOUT_BYTE_STRINGS) {
		*old = 1;
		if (is_type_named(s, type, instance, sizeof(instance)))
			return read_word(object + INSTANCE_CLASS);
		if (is_type_named(s, type, classobj, sizeof(classobj)))
			return object;
		*old = 0;
	}
	return type;
}

/* Adds the class of the first argument to a definition, if that is called as a method's is. */
static __noinline void capture_class(struct scratch *s, struct code_record *record)
{
	const struct python_layout *layout = &s->process.layout;
	u64 names = block_u64(s->code_block, layout->code_variable_names, CODE_BLOCK_BYTES);
	s32 arguments = block_u64(s->code_block, layout->code_argument_count, CODE_BLOCK_BYTES);
	u64 name, object, class, text;
	int old = 0;

	if (arguments <= 0)
		return;
	name = read_word(names + layout->tuple_items);
	if (!names_the_class(s, name))
		return;
	object = first_argument(s, name);
	class = object ? class_of(s, object, &old) : 0;
	if (!class)
		return;
	record->flags |= CODE_CLASS | (old ? CODE_OLD_CLASS : 0);
	record->class_address = class;
	text = read_word(class + (old ? OLD_CLASS_NAME : layout->type_name));
	if (old)
		text += layout->text_ascii_data;
	if (read_user_string((char *)record->class_name, sizeof(record->class_name), text))
		record->class_name[0] = 0;
}

#endif
