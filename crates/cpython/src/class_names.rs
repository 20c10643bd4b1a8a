//! Names of methods before 3.11, whose code objects do not know their class.
//!
//! Where a code object's first argument is an instance or a class, its function is looked for in the class and its
//! bases, in the order in which Python itself looks: `Base.run` is found for an instance of `Derived`. The function
//! that has this very code object gives the name, so a name found is never that of another.

use crate::{
    Layout, ObjectLayout,
    objects::{Entry, Key, Objects, limit_reads},
};

/// How often memory may be read for one name. The longest way in the standard library needs a few thousand.
const READ_LIMIT: u32 = 50_000;

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
    let read_memory = limit_reads(READ_LIMIT, read_memory);
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
    let read_memory = limit_reads(READ_LIMIT, read_memory);
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
    let offsets = callable_offsets(objects.objects).into_iter().flatten();
    let callables = offsets.filter_map(|offset| {
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
fn callable_offsets(objects: &ObjectLayout) -> [Option<u16>; 5] {
    let property = objects.property.as_ref();
    [
        objects.class_method.as_ref().map(|method| method.callable),
        objects.static_method.as_ref().map(|method| method.callable),
        property.map(|property| property.get),
        property.map(|property| property.set),
        property.map(|property| property.delete),
    ]
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
