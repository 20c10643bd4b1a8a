//! Names of methods before 3.11, whose code objects do not know their class.
//!
//! Where a code object's first argument is an instance or a class, its function is looked for in the class and its
//! bases, in the order in which Python itself looks: `Base.run` is found for an instance of `Derived`. The function
//! that has this very code object gives the name, so a name found is never that of another.

use std::collections::BTreeSet;

use crate::{
    Layout, ObjectLayout,
    objects::{Entry, Key, Objects, limit_bytes},
};

/// Most bytes of memory read for one name, each read counting as 64 more. The longest way in the standard library
/// takes 1,200 reads.
const READ_LIMIT: u64 = 8 * 1024 * 1024;

/// Most classes that one class can be derived from, itself included.
const CLASS_LIMIT: usize = 256;

/// Most functions looked into for the one that they decorate.
const DECORATOR_LIMIT: usize = 32;

/// Most variables of enclosing functions that are looked into.
const CELL_LIMIT: usize = 32;

/// Finds the qualified name of the method that has the code object at `code_address` and is called `co_name`.
///
/// `class_address` is the class of its argument `self`, or its argument `cls`; in 2.7 it may be an old-style class.
/// From 3.6 on the name is the function's `__qualname__` (`outer.<locals>.C.run`), in 2.7 the name of the class that
/// has the method and `co_name`.
///
/// The method may stand in the class or in its metaclass, be a class or static method or part of a property, have a
/// private name (`__x`), stand under another name, or be wrapped by decorators that keep it in a closure.
///
/// `None` if there is no such function (a function inside a method, one that was replaced, a decorator's wrapper,
/// which is found but bears the name of what it wraps), if the memory is not to be read, and for 3.11 and later.
pub fn find_qualname(
    layout: &Layout,
    objects: &ObjectLayout,
    class_address: u64,
    code_address: u64,
    co_name: &str,
    read_memory: impl FnMut(u64, &mut [u8]) -> bool,
) -> Option<String> {
    let read_memory = limit_bytes(READ_LIMIT, read_memory);
    let mut objects = Objects::new(layout, objects, read_memory);
    objects.objects.function.as_ref()?;
    let classes = read_classes(&mut objects, class_address)?;
    let function = find_by_name(&mut objects, &classes, code_address, co_name)
        .or_else(|| find_by_value(&mut objects, &classes, code_address))?;
    let qualname = match objects.objects.function.as_ref()?.qualname {
        Some(offset) => {
            let qualname = objects.pointer(function.address, offset)?;
            objects.text(qualname)?
        }
        None => format!("{}.{co_name}", function.class_name),
    };
    // `functools.wraps` gives a wrapper the name of what it wraps, and one wrapper's code is that of all it makes.
    let is_own = qualname
        .strip_suffix(co_name)
        .is_some_and(|scope| scope.is_empty() || scope.ends_with('.'));
    is_own.then_some(qualname)
}

/// Finds the bare name of a class: `tp_name` after its last dot, or the name of an old-style class of 2.7.
pub fn find_class_name(
    layout: &Layout,
    objects: &ObjectLayout,
    class_address: u64,
    read_memory: impl FnMut(u64, &mut [u8]) -> bool,
) -> Option<String> {
    let read_memory = limit_bytes(READ_LIMIT, read_memory);
    let mut objects = Objects::new(layout, objects, read_memory);
    match objects.is_type(class_address)? {
        true => objects.type_name(class_address),
        false => read_old_style_name(&mut objects, class_address),
    }
}

/// A class and what its body defined.
struct Class {
    name: String,
    entries: Vec<Entry>,
}

/// A function and the class it was found in.
struct Function {
    address: u64,
    class_name: String,
}

/// Reads the class, its bases and, behind them, its metaclass and the metaclass's bases, each group in the order of
/// look-up.
fn read_classes<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    class_address: u64,
) -> Option<Vec<Class>> {
    let addresses = match objects.is_type(class_address)? {
        true => {
            let mut addresses = read_mro(objects, class_address)?;
            let metaclass = objects.type_of(class_address);
            addresses.extend(
                metaclass
                    .and_then(|metaclass| read_mro(objects, metaclass))
                    .unwrap_or_default(),
            );
            addresses
        }
        false => read_old_style_mro(objects, class_address)?,
    };
    let addresses = addresses.into_iter().take(CLASS_LIMIT);
    Some(
        addresses
            .filter_map(|address| read_class(objects, address))
            .collect(),
    )
}

fn read_mro<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    class_address: u64,
) -> Option<Vec<u64>> {
    let mro = objects.pointer(class_address, objects.layout.type_object.mro)?;
    objects.tuple(mro)
}

/// Old-style classes are looked up depth first, left to right, some more than once.
fn read_old_style_mro<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    class_address: u64,
) -> Option<Vec<u64>> {
    let bases_offset = objects.objects.old_style_class.as_ref()?.bases;
    let mut found = Vec::new();
    let mut next = vec![class_address];
    while let Some(address) = next.pop().filter(|_| found.len() < CLASS_LIMIT) {
        if found.contains(&address) || !is_old_style_class(objects, address) {
            continue;
        }
        found.push(address);
        let bases = objects.pointer(address, bases_offset);
        let bases = bases.and_then(|bases| objects.tuple(bases));
        next.extend(bases.unwrap_or_default().into_iter().rev());
    }
    Some(found)
}

fn is_old_style_class<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    address: u64,
) -> bool {
    let name = objects
        .type_of(address)
        .and_then(|address| objects.type_name(address));
    name.as_deref() == Some("classobj")
}

fn read_old_style_name<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    address: u64,
) -> Option<String> {
    let offset = objects.objects.old_style_class.as_ref()?.name;
    if !is_old_style_class(objects, address) {
        return None;
    }
    let name = objects.pointer(address, offset)?;
    objects.text(name)
}

/// Both kinds of classes: in 2.7 those with `object` among their bases can have old-style ones, too.
fn read_class<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    address: u64,
) -> Option<Class> {
    let is_type = objects.is_type(address)?;
    let (name, dict_offset) = match is_type {
        true => (objects.type_name(address)?, objects.layout.type_object.dict),
        false => (
            read_old_style_name(objects, address)?,
            objects.objects.old_style_class.as_ref()?.dict,
        ),
    };
    let dict = objects.pointer(address, dict_offset)?;
    let entries = objects.dict(dict)?;
    Some(Class { name, entries })
}

fn find_by_name<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    classes: &[Class],
    code_address: u64,
    co_name: &str,
) -> Option<Function> {
    let mut key = Key::new(co_name);
    classes.iter().find_map(|class| {
        let value = objects.find(&class.entries, &mut key).or_else(|| {
            let mangled = mangle(&class.name, co_name)?;
            objects.find(&class.entries, &mut Key::new(&mangled))
        })?;
        let address = find_decorated(objects, value, code_address)?;
        Some(Function {
            address,
            class_name: class.name.clone(),
        })
    })
}

/// Finds methods that stand under another name than their own: `alias = method`, `name = lambda self: …`,
/// `size = property(_size)` whose `_size` was deleted.
fn find_by_value<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    classes: &[Class],
    code_address: u64,
) -> Option<Function> {
    classes.iter().find_map(|class| {
        let functions = class
            .entries
            .iter()
            .flat_map(|entry| read_functions(objects, entry.value));
        let function = functions
            .into_iter()
            .find(|function| function.code == code_address)?;
        Some(Function {
            address: function.address,
            class_name: class.name.clone(),
        })
    })
}

/// What the compiler makes of a private name inside a class.
/// <https://docs.python.org/3/reference/expressions.html#private-name-mangling>
fn mangle(class_name: &str, name: &str) -> Option<String> {
    let class_name = class_name.trim_start_matches('_');
    let is_private = name.starts_with("__") && !name.ends_with("__") && !class_name.is_empty();
    is_private.then(|| format!("_{class_name}{name}"))
}

/// Finds the function that has the code object: the value of a class's dict itself, what a class method, static method
/// or property calls, or what functions around it keep in their closures, as decorators do.
fn find_decorated<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    value: u64,
    code_address: u64,
) -> Option<u64> {
    let mut seen = Vec::new();
    let mut next = vec![value];
    while let Some(value) = next.pop().filter(|_| seen.len() < DECORATOR_LIMIT) {
        for function in read_functions(objects, value) {
            if function.code == code_address {
                return Some(function.address);
            }
            // A function that calls itself is in its own closure.
            if !seen.contains(&function.address) {
                seen.push(function.address);
                next.extend(read_closure(objects, function.address).unwrap_or_default());
            }
        }
    }
    None
}

/// A function and its code object.
struct FunctionCode {
    address: u64,
    code: u64,
}

/// The value if it is a function, else the functions that it calls as a descriptor.
fn read_functions<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    value: u64,
) -> Vec<FunctionCode> {
    if let Some(function) = read_function(objects, value) {
        return vec![function];
    }
    let offsets = callable_offsets(objects.objects);
    let callables = offsets.into_iter().filter_map(|offset| {
        let callable = objects.pointer(value, offset)?;
        read_function(objects, callable)
    });
    callables.collect()
}

fn read_function<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    address: u64,
) -> Option<FunctionCode> {
    let offset = objects.objects.function.as_ref()?.code;
    let type_address = objects.type_of(address)?;
    if objects.type_name(type_address)? != "function" {
        return None;
    }
    let code = objects.pointer(address, offset)?;
    Some(FunctionCode { address, code })
}

/// Where descriptors keep what they call. Their types are not asked for: there are derived ones, and ones of C
/// extensions, and only a function with the right code object is ever taken.
fn callable_offsets(objects: &ObjectLayout) -> BTreeSet<u16> {
    let property = objects.property.as_ref();
    let offsets = [
        objects.class_method.as_ref().map(|method| method.callable),
        objects.static_method.as_ref().map(|method| method.callable),
        property.map(|property| property.get),
        property.map(|property| property.set),
        property.map(|property| property.delete),
    ];
    offsets.into_iter().flatten().collect()
}

/// What the variables hold that a function has from the functions around it.
fn read_closure<F: FnMut(u64, &mut [u8]) -> bool>(
    objects: &mut Objects<'_, F>,
    function: u64,
) -> Option<Vec<u64>> {
    let closure_offset = objects.objects.function.as_ref()?.closure;
    let cell_offset = objects.objects.cell.as_ref()?.contents;
    let closure = objects.pointer(function, closure_offset)?;
    let cells = objects.tuple(closure)?.into_iter().take(CELL_LIMIT);
    Some(
        cells
            .filter_map(|cell| objects.pointer(cell, cell_offset))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::tests::Space;

    const V2_7: u32 = 0x0207_00f0;
    const V3_9: u32 = 0x0309_00f0;
    const CODE: u64 = 0x5000;

    /// The types that values in classes are of.
    struct Types {
        meta: u64,
        function: u64,
        other: u64,
    }

    fn types(space: &mut Space) -> Types {
        let meta = space.type_object("type", 1 << 31);
        Types {
            meta,
            function: space.type_object("function", 0),
            other: space.type_object("property", 0),
        }
    }

    fn class(
        space: &mut Space,
        types: &Types,
        name: &str,
        bases: &[u64],
        entries: &[(&str, u64)],
    ) -> u64 {
        let class = space.type_object(name, 0);
        space.put_word(class, space.layout.code.ob_type, types.meta);
        let dict = space.dict(entries);
        space.put_word(class, space.layout.type_object.dict, dict);
        let mut mro = vec![class];
        mro.extend_from_slice(bases);
        let mro = space.tuple(&mro);
        space.put_word(class, space.layout.type_object.mro, mro);
        class
    }

    fn function(space: &mut Space, types: &Types, qualname: &str, code: u64) -> u64 {
        let address = space.object(types.function, 128);
        let members = space.objects.function.clone().unwrap();
        space.put_word(address, members.code, code);
        if let Some(offset) = members.qualname {
            let qualname = space.ascii(qualname);
            space.put_word(address, offset, qualname);
        }
        address
    }

    fn find(space: &Space, class: u64, co_name: &str) -> Option<String> {
        find_qualname(
            &space.layout,
            &space.objects,
            class,
            CODE,
            co_name,
            space.read_memory(),
        )
    }

    #[test]
    fn the_function_with_the_code_object_gives_the_name_not_one_of_the_same_name() {
        for (hex, expected) in [(V2_7, "Base.run"), (V3_9, "outer.<locals>.Base.run")] {
            let mut space = Space::new(hex, false);
            let types = types(&mut space);
            let other = function(&mut space, &types, "Derived.run", CODE + 8);
            let wanted = function(&mut space, &types, "outer.<locals>.Base.run", CODE);
            let base = class(
                &mut space,
                &types,
                "Base",
                &[],
                &[("x", 0x9000), ("run", wanted)],
            );
            let derived = class(&mut space, &types, "Derived", &[base], &[("run", other)]);
            assert_eq!(find(&space, derived, "run").as_deref(), Some(expected));
            assert_eq!(find(&space, base, "run").as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_function_named_after_another_names_nothing() {
        let mut space = Space::new(V3_9, false);
        let types = types(&mut space);
        let wrapper = function(&mut space, &types, "C.run", CODE);
        let class = class(&mut space, &types, "C", &[], &[("run", wrapper)]);
        assert_eq!(find(&space, class, "wrapper"), None);
        assert_eq!(find(&space, class, "un"), None);
        assert_eq!(find(&space, class, "run").as_deref(), Some("C.run"));
    }

    #[test]
    fn private_names_and_descriptors_and_other_names_are_found() {
        for place in [16, 24, 32] {
            let mut space = Space::new(V3_9, false);
            let types = types(&mut space);
            let wanted = function(&mut space, &types, "_C.__size", CODE);
            let property = space.object(types.other, 64);
            space.put_word(property, place, wanted);
            for name in ["_C__size", "__size", "alias"] {
                let class = class(&mut space, &types, "_C", &[], &[(name, property)]);
                assert_eq!(find(&space, class, "__size").as_deref(), Some("_C.__size"));
            }
        }
        assert_eq!(mangle("__C", "__x").as_deref(), Some("_C__x"));
        assert_eq!(mangle("C", "__x__"), None);
        assert_eq!(mangle("C", "_x"), None);
        assert_eq!(mangle("__", "__x"), None);
    }

    #[test]
    fn closures_that_run_in_circles_end() {
        let mut space = Space::new(V3_9, false);
        let types = types(&mut space);
        let members = space.objects.function.clone().unwrap();
        let cell_offset = space.objects.cell.clone().unwrap().contents;
        let functions: Vec<_> = (0..100)
            .map(|_| function(&mut space, &types, "f", CODE + 8))
            .collect();
        let cells: Vec<_> = functions
            .iter()
            .map(|&function| {
                let cell = space.object(types.other, 32);
                space.put_word(cell, cell_offset, function);
                cell
            })
            .collect();
        let closure = space.tuple(&cells);
        for &function in &functions {
            space.put_word(function, members.closure, closure);
        }
        let class = class(&mut space, &types, "C", &[], &[("run", functions[0])]);
        assert_eq!(find(&space, class, "run"), None);
        // One of them is what is looked for.
        space.put_word(functions[20], members.code, CODE);
        let qualname = space.ascii("C.run");
        space.put_word(functions[20], members.qualname.unwrap(), qualname);
        assert_eq!(find(&space, class, "run").as_deref(), Some("C.run"));
    }

    #[test]
    fn old_style_bases_are_looked_up_depth_first_and_circles_end() {
        let mut space = Space::new(V2_7, false);
        let types = types(&mut space);
        let class_object = space.type_object("classobj", 0);
        let wanted = function(&mut space, &types, "", CODE);
        let members = space.objects.old_style_class.clone().unwrap();
        let old_style = |space: &mut Space, name: &str, bases: &[u64], entries: &[(&str, u64)]| {
            let class = space.object(class_object, 72);
            let (name, bases, dict) = (space.ascii(name), space.tuple(bases), space.dict(entries));
            space.put_word(class, members.name, name);
            space.put_word(class, members.bases, bases);
            space.put_word(class, members.dict, dict);
            class
        };
        let deep = old_style(&mut space, "Deep", &[], &[("run", wanted)]);
        let left = old_style(&mut space, "Left", &[deep], &[]);
        let right = old_style(&mut space, "Right", &[], &[("run", wanted)]);
        let class = old_style(&mut space, "C", &[left, right], &[]);
        assert_eq!(find(&space, class, "run").as_deref(), Some("Deep.run"));
        let name = find_class_name(&space.layout, &space.objects, class, space.read_memory());
        assert_eq!(name.as_deref(), Some("C"));

        let bases = space.tuple(&[class, left, deep]);
        space.put_word(deep, members.bases, bases);
        space.put_word(
            wanted,
            space.objects.function.as_ref().unwrap().code,
            CODE + 8,
        );
        assert_eq!(find(&space, class, "run"), None);
    }

    #[test]
    fn whatever_the_memory_holds_it_ends() {
        let mut found = 0;
        for seed in 0..2_000 {
            for hex in [V2_7, V3_9] {
                let mut space = Space::new(hex, false);
                let types = types(&mut space);
                let wanted = function(&mut space, &types, "C.run", CODE);
                let other = function(&mut space, &types, "C.other", CODE + 8);
                let base = class(&mut space, &types, "Base", &[], &[("other", other)]);
                let entries = [("__init__", other), ("run", wanted)];
                let class = class(&mut space, &types, "C", &[base, base], &entries);
                space.corrupt(seed);
                found += u32::from(find(&space, class, "run").is_some());
                find_class_name(&space.layout, &space.objects, class, space.read_memory());
            }
        }
        assert!((1_000..4_000).contains(&found), "{found}");
    }
    #[test]
    fn endless_memory_is_left_at_the_limit() {
        let space = Space::new(V3_9, false);
        // Every pointer leads to where it came from, each object is a type and a dict of that many entries.
        for word in [0xa000_1000_u64, 0x1_a000_0000, 0x20] {
            let mut bytes_read = 0;
            let read_memory = |address: u64, bytes: &mut [u8]| {
                let words = (address..).step_by(8).map(|place| match place % 64 {
                    0..8 => word,
                    _ => word + place % 4096,
                });
                for (to, from) in bytes.chunks_mut(8).zip(words) {
                    to.copy_from_slice(&from.to_le_bytes()[..to.len()]);
                }
                bytes_read += bytes.len() as u64;
                true
            };
            let found = find_qualname(
                &space.layout,
                &space.objects,
                word,
                CODE,
                "run",
                read_memory,
            );
            assert_eq!(found, None);
            assert!(bytes_read <= READ_LIMIT);
        }
    }
}
