//! Masks of whole chromosomes that Python pickled, read as regions.
//!
//! A pickle is a program for a stack machine that can call anything. This one knows a dictionary of
//! names and numpy arrays of booleans and refuses the rest, so that nothing is ever executed. The
//! arrays, one byte a base, are turned into runs while they are read: memory does not depend on the
//! length of the chromosomes.

mod input;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use self::input::{Input, Runs};
use crate::bed::Region;
use crate::error::{GenomeError, shorten};
use crate::input_file::read_head;
use crate::interval::Interval;

/// The first byte of every pickle since protocol 2; no text and no compressed file begins with it.
const MAGIC: u8 = 0x80;

/// Longer strings are the bytes of an array, and become runs.
const MAX_STRING: u64 = 256;

/// Entries of the stack and of the memo, and runs of all arrays together, that make sense.
const MAX_ENTRIES: usize = 1 << 20;
const MAX_RUNS: usize = 1 << 24;

/// Whether a file begins as a pickle does.
pub(crate) fn is_pickle(path: &Path) -> Result<bool, GenomeError> {
    Ok(read_head(path)?.first() == Some(&MAGIC))
}

/// Reads a pickled dictionary of chromosome names and one-dimensional numpy arrays of booleans
/// (or of the numbers 0 and 1), one value a base: the regions where they are true.
///
/// Protocols 2 to 5, of numpy 1 and 2. The regions are in the order of the file.
///
/// # Errors
/// [`GenomeError::CorruptAtByte`] with the position of what is no such dictionary.
pub(crate) fn read_mask_pickle(path: &Path) -> Result<Vec<Region>, GenomeError> {
    let mut machine = Machine {
        input: Input::open(path)?,
        stack: Vec::new(),
        memo: Vec::new(),
        n_runs: 0,
    };
    let masks = machine.run()?;
    let mut regions = Vec::new();
    for (chrom, array) in masks.borrow().iter() {
        let Some(runs) = &array.borrow().runs else {
            return Err(machine
                .input
                .refuse(format!("the array of {:?} has no content", shorten(chrom))));
        };
        for &(start, end) in &runs.ones {
            regions.push(Region::new(Interval::try_new(&**chrom, start, end)?));
        }
    }
    Ok(regions)
}

/// What a name of a Python object means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Global {
    Reconstruct,
    FromBuffer,
    Ndarray,
    Dtype,
    Encode,
}

impl Global {
    fn find(module: &str, name: &str) -> Option<Global> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Some(Global::Reconstruct)
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => {
                Some(Global::FromBuffer)
            }
            ("numpy", "ndarray") => Some(Global::Ndarray),
            ("numpy", "dtype") => Some(Global::Dtype),
            ("_codecs", "encode") => Some(Global::Encode),
            _ => None,
        }
    }
}

/// An array, whose content may come after it is mentioned.
#[derive(Debug, Default)]
struct ArrayDraft {
    runs: Option<Rc<Runs>>,
}

type Array = Rc<RefCell<ArrayDraft>>;
type Masks = Rc<RefCell<Vec<(Rc<str>, Array)>>>;

/// An entry of the stack. A tuple holds no tuple that holds a tuple, and a dictionary only arrays,
/// so that nothing is deep and nothing holds itself.
#[derive(Debug, Clone)]
enum Value {
    Mark,
    None,
    Bool,
    Int(i64),
    String(Rc<[u8]>),
    Runs(Rc<Runs>),
    Tuple(Rc<[Value]>),
    Global(Global),
    Dtype,
    Array(Array),
    Masks(Masks),
}

struct Machine {
    input: Input,
    stack: Vec<Value>,
    memo: Vec<Option<Value>>,
    n_runs: usize,
}

impl Machine {
    /// Runs the program to its end, which leaves the dictionary.
    fn run(&mut self) -> Result<Masks, GenomeError> {
        loop {
            let operation = self.input.byte()?;
            if operation == b'.' {
                return match self.pop()? {
                    Value::Masks(masks) => Ok(masks),
                    _ => Err(self.unexpected()),
                };
            }
            self.step(operation)?;
            if self.stack.len() > MAX_ENTRIES {
                return Err(self.unexpected());
            }
        }
    }

    fn step(&mut self, operation: u8) -> Result<(), GenomeError> {
        let value = match operation {
            0x80 => {
                let protocol = self.input.byte()?;
                return match protocol {
                    2..=5 => Ok(()),
                    _ => Err(self
                        .input
                        .refuse(format!("pickle protocol {protocol} is none of 2 to 5"))),
                };
            }
            0x95 => return self.input.u64().map(|_| ()), // a frame, which says nothing new
            b'(' => Value::Mark,
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool,
            b'K' => Value::Int(i64::from(self.input.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.input.bytes()?))),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.input.bytes()?))),
            0x8a => self.long()?,
            b'C' | b'U' | 0x8c => {
                let length = u64::from(self.input.byte()?);
                Value::String(self.input.string(length)?)
            }
            b'B' | b'T' | b'X' => {
                let length = self.input.u32()?;
                self.content(length)?
            }
            0x8d | 0x8e | 0x96 => {
                let length = self.input.u64()?;
                self.content(length)?
            }
            b')' => Value::Tuple(Rc::new([])),
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(operation - 0x84));
                self.tuple(first)?
            }
            b't' => {
                let mark = self.mark();
                let tuple = self.tuple(mark.map(|mark| mark + 1))?;
                self.pop()?; // the mark
                tuple
            }
            b'}' => Value::Masks(Masks::default()),
            b's' | b'u' => return self.set_items(operation),
            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.global(&module, &name)?
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.global(&module, &name)?
            }
            b'R' => self.call()?,
            b'b' => return self.build(),
            b'q' => {
                let index = u64::from(self.input.byte()?);
                return self.remember(index);
            }
            b'r' => {
                let index = self.input.u32()?;
                return self.remember(index);
            }
            0x94 => return self.remember(self.memo.len() as u64),
            b'h' => {
                let index = u64::from(self.input.byte()?);
                self.recall(index)?
            }
            b'j' => {
                let index = self.input.u32()?;
                self.recall(index)?
            }
            b'0' => return self.pop().map(|_| ()),
            _ => return Err(self.unexpected()),
        };
        self.stack.push(value);
        Ok(())
    }

    fn unexpected(&self) -> GenomeError {
        self.input.refuse(
            "this is no pickled dictionary of chromosomes and numpy arrays of booleans; write the regions as BED",
        )
    }

    fn pop(&mut self) -> Result<Value, GenomeError> {
        self.stack.pop().ok_or_else(|| self.unexpected())
    }

    fn pop_text(&mut self) -> Result<String, GenomeError> {
        match self.pop()? {
            Value::String(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            _ => Err(self.unexpected()),
        }
    }

    /// A whole number of up to eight bytes.
    fn long(&mut self) -> Result<Value, GenomeError> {
        let n_bytes = self.input.byte()?;
        if n_bytes > 8 {
            return Err(self.unexpected());
        }
        let mut bytes = [0_u8; 8];
        let mut last = 0;
        for slot in bytes.iter_mut().take(usize::from(n_bytes)) {
            last = self.input.byte()?;
            *slot = last;
        }
        if last >= 0x80 {
            bytes[usize::from(n_bytes)..].fill(0xff);
        }
        Ok(Value::Int(i64::from_le_bytes(bytes)))
    }

    /// A string, which may be the content of an array.
    fn content(&mut self, length: u64) -> Result<Value, GenomeError> {
        if length <= MAX_STRING {
            return Ok(Value::String(self.input.string(length)?));
        }
        let runs = self.input.runs(length, MAX_RUNS - self.n_runs)?;
        self.n_runs += runs.ones.len();
        Ok(Value::Runs(Rc::new(runs)))
    }

    /// Index of the topmost mark.
    fn mark(&self) -> Option<usize> {
        self.stack
            .iter()
            .rposition(|value| matches!(value, Value::Mark))
    }

    /// Takes the entries from `first` on.
    fn take(&mut self, first: Option<usize>) -> Result<Vec<Value>, GenomeError> {
        match first {
            Some(first) if first <= self.stack.len() => Ok(self.stack.split_off(first)),
            _ => Err(self.unexpected()),
        }
    }

    fn tuple(&mut self, first: Option<usize>) -> Result<Value, GenomeError> {
        let items = self.take(first)?;
        let is_deep = |value: &Value| match value {
            Value::Tuple(inner) => inner.iter().any(|item| matches!(item, Value::Tuple(_))),
            Value::Mark => true,
            _ => false,
        };
        match items.len() <= 16 && !items.iter().any(is_deep) {
            true => Ok(Value::Tuple(items.into())),
            false => Err(self.unexpected()),
        }
    }

    fn remember(&mut self, index: u64) -> Result<(), GenomeError> {
        let Some(value) = self.stack.last().cloned() else {
            return Err(self.unexpected());
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if index >= MAX_ENTRIES {
            return Err(self.unexpected());
        }
        if self.memo.len() <= index {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(value);
        Ok(())
    }

    fn recall(&self, index: u64) -> Result<Value, GenomeError> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.memo.get(index)?.clone())
            .ok_or_else(|| self.unexpected())
    }

    fn global(&self, module: &str, name: &str) -> Result<Value, GenomeError> {
        Global::find(module, name)
            .map(Value::Global)
            .ok_or_else(|| {
                self.input.refuse(format!(
                    "the pickle asks for {:?}, which is not needed for a mask and is not run",
                    shorten(&format!("{module}.{name}"))
                ))
            })
    }

    /// Puts one pair, or those above the mark, into the dictionary below them.
    fn set_items(&mut self, operation: u8) -> Result<(), GenomeError> {
        let items = match operation {
            b's' => self.take(self.stack.len().checked_sub(2))?,
            _ => {
                let items = self.take(self.mark().map(|mark| mark + 1))?;
                self.pop()?; // the mark
                items
            }
        };
        let Some(Value::Masks(masks)) = self.stack.last().cloned() else {
            return Err(self.unexpected());
        };
        for pair in items.chunks(2) {
            let [Value::String(name), Value::Array(array)] = pair else {
                return Err(self.unexpected());
            };
            let name: Rc<str> = String::from_utf8_lossy(name).into();
            if masks.borrow().iter().any(|(other, _)| *other == name) {
                return Err(self
                    .input
                    .refuse(format!("{:?} occurs twice", shorten(&name))));
            }
            masks.borrow_mut().push((name, Rc::clone(array)));
        }
        Ok(())
    }

    /// What one of the known functions returns.
    fn call(&mut self) -> Result<Value, GenomeError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Tuple(arguments), Value::Global(function)) = (arguments, function) else {
            return Err(self.unexpected());
        };
        match (function, &*arguments) {
            (Global::Reconstruct, [Value::Global(Global::Ndarray), ..]) => {
                Ok(Value::Array(Array::default()))
            }
            (Global::Dtype, [Value::String(code), ..]) => match &**code {
                b"b1" | b"u1" | b"i1" | b"?" | b"bool" => Ok(Value::Dtype),
                other => Err(self.input.refuse(format!(
                    "an array of type {:?} is no mask; it must be of booleans",
                    shorten(&String::from_utf8_lossy(other))
                ))),
            },
            (Global::Encode, [content @ (Value::String(_) | Value::Runs(_)), ..]) => {
                Ok(content.clone())
            }
            (Global::FromBuffer, [content, Value::Dtype, Value::Tuple(shape), ..]) => {
                let runs = self.runs_of(content, shape)?;
                Ok(Value::Array(Rc::new(RefCell::new(ArrayDraft {
                    runs: Some(runs),
                }))))
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Gives the array or type below its content.
    fn build(&mut self) -> Result<(), GenomeError> {
        let state = self.pop()?;
        let (Value::Tuple(state), Some(target)) = (state, self.stack.last().cloned()) else {
            return Err(self.unexpected());
        };
        match (target, &*state) {
            (Value::Dtype, _) => Ok(()),
            (
                Value::Array(array),
                [Value::Int(_), Value::Tuple(shape), Value::Dtype, _, content],
            ) => {
                let runs = self.runs_of(content, shape)?;
                array.borrow_mut().runs = Some(runs);
                Ok(())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// The content of an array, which must be as long as its shape says.
    fn runs_of(&self, content: &Value, shape: &[Value]) -> Result<Rc<Runs>, GenomeError> {
        let runs = match content {
            Value::Runs(runs) => Rc::clone(runs),
            Value::String(bytes) => match Runs::of(bytes) {
                Some(runs) => Rc::new(runs),
                None => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        match shape {
            [Value::Int(length)] if u64::try_from(*length) == Ok(runs.length) => Ok(runs),
            [Value::Int(length)] => Err(self.input.refuse(format!(
                "an array of {length} values has {} bytes",
                runs.length
            ))),
            _ => Err(self.input.refuse(format!(
                "an array of {} dimensions is no mask; it must have one",
                shape.len()
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
