//! Parses the running kernel's BTF (type information) for field offsets.
//!
//! **Bounded:** one lookup visits at most [`NESTED`] anonymous structures, so malformed types that contain themselves end.
//!
//! Format: Documentation/bpf/btf.rst. `aya` reads BTF too but has no public API for members, and the crates that have one are
//! under licences that don't fit a static binary.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::FromBytes as _;

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
const TYPE: usize = 12;
/// Most anonymous structures that one lookup of a member visits: malformed types may contain themselves.
const NESTED: u32 = 256;

/// Kinds of types, `BTF_KIND_*`.
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const ENUM64: u32 = 19;

/// A parsed `/sys/kernel/btf/vmlinux`.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    strings_len: usize,
    /// Offset of each type in `data`; type ids start at 1.
    types: Vec<u32>,
}

/// A structure or union of the kernel's.
#[derive(Clone, Copy)]
pub struct Structure<'a> {
    btf: &'a Btf,
    ty: Type,
}

/// One type's fixed part.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    vlen: usize,
    bitfields: bool,
    size_or_id: u32,
}

impl Btf {
    /// Reads the kernel's BTF from `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let data = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        Self::parse(data).with_context(|| format!("{} is not BTF", path.display()))
    }

    /// Parses BTF of the machine's own byte order.
    pub fn parse(data: Vec<u8>) -> Result<Self> {
        ensure!(data.len() >= HEADER && u16_at(&data, 0)? == MAGIC, "no BTF header");
        let header = u32_at(&data, 4)? as usize;
        let types_at = header + u32_at(&data, 8)? as usize;
        let types_end = types_at + u32_at(&data, 12)? as usize;
        let strings = header + u32_at(&data, 16)? as usize;
        let strings_len = u32_at(&data, 20)? as usize;
        ensure!(types_end <= data.len() && strings + strings_len <= data.len(), "cut off");
        let mut btf = Self { data, strings, strings_len, types: Vec::with_capacity(1 << 16) };
        let mut at = types_at;
        while at < types_end {
            let ty = btf.type_at(at)?;
            btf.types.push(u32::try_from(at)?);
            at += TYPE + trailer(ty.kind, ty.vlen)?;
        }
        Ok(btf)
    }

    /// The same types under the same ids, reduced to the names of functions and tracepoints, which programs attach to.
    /// `aya` needs no more, and so does not parse some 50,000 members.
    pub fn names_to_attach_to(&self) -> Result<Vec<u8>> {
        let types_len = self.types.len() * TYPE;
        let mut bytes = Vec::with_capacity(HEADER + types_len + self.strings_len);
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        for word in [HEADER, 0, types_len, types_len, self.strings_len] {
            bytes.extend(u32::try_from(word)?.to_ne_bytes());
        }
        let mut nameless = [0; TYPE];
        nameless[4..8].copy_from_slice(&(FWD << 24).to_ne_bytes());
        for &at in &self.types {
            let at = at as usize;
            let whole = &self.data[at..at + TYPE];
            let is_wanted = matches!(self.type_at(at)?.kind, FUNC | TYPEDEF);
            bytes.extend_from_slice(if is_wanted { whole } else { &nameless });
        }
        bytes.extend_from_slice(self.strings());
        Ok(bytes)
    }

    fn type_at(&self, at: usize) -> Result<Type> {
        // One read of three words: some 65,000 types are read, twice.
        let rest = self.data.get(at..).unwrap_or_default();
        let Ok(([name, info, size_or_id], _)) = <[u32; 3]>::read_from_prefix(rest) else {
            bail!("cut off");
        };
        Ok(Type {
            at,
            name,
            kind: (info >> 24) & 0x1f,
            vlen: (info & 0xffff) as usize,
            bitfields: info >> 31 != 0,
            size_or_id,
        })
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        let at = *self.types.get(usize::try_from(id).ok()?.checked_sub(1)?)?;
        self.type_at(at as usize).ok()
    }

    fn strings(&self) -> &[u8] {
        &self.data[self.strings..self.strings + self.strings_len]
    }

    /// Offset of a name in the string table. BTF is deduplicated: each name is there once.
    fn name(&self, name: &str) -> Option<u32> {
        let mut needle = Vec::with_capacity(name.len() + 2);
        needle.push(0);
        needle.extend_from_slice(name.as_bytes());
        needle.push(0);
        let found = memchr::memmem::find(self.strings(), &needle)?;
        u32::try_from(found + 1).ok()
    }

    fn find(&self, name: &str, kinds: &[u32]) -> Option<Type> {
        let name = self.name(name)?;
        self.types
            .iter()
            .filter_map(|&at| self.type_at(at as usize).ok())
            .find(|ty| ty.name == name && kinds.contains(&ty.kind))
    }

    /// The structure or union of that name.
    #[must_use]
    pub fn structure(&self, name: &str) -> Option<Structure<'_>> {
        self.find(name, &[STRUCT, UNION]).map(|ty| Structure { btf: self, ty })
    }

    /// Whether the kernel has a function of this name that a program can attach to.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.find(name, &[FUNC]).is_some()
    }

    /// Value of an enumerator.
    #[must_use]
    pub fn enumerator(&self, name: &str, enumerator: &str) -> Option<u32> {
        let ty = self.find(name, &[ENUM])?;
        let wanted = self.name(enumerator)?;
        (0..ty.vlen).map(|n| ty.at + TYPE + n * 8).find_map(|at| {
            (u32_at(&self.data, at).ok()? == wanted).then(|| u32_at(&self.data, at + 4).ok())?
        })
    }

    /// The arguments that a tracepoint passes to its programs: whether each is a pointer.
    #[must_use]
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<Vec<bool>> {
        let typedef = self.find(&format!("btf_trace_{tracepoint}"), &[TYPEDEF])?;
        let pointer = self.by_id(typedef.size_or_id)?;
        let proto = self.by_id(pointer.size_or_id).filter(|ty| ty.kind == FUNC_PROTO)?;
        // The first parameter is the tracepoint's own `void *`.
        (1..proto.vlen)
            .map(|n| {
                let id = u32_at(&self.data, proto.at + TYPE + n * 8 + 4).ok()?;
                Some(self.by_id(id).is_some_and(|ty| ty.kind == PTR))
            })
            .collect()
    }

    /// Follows typedefs and qualifiers to the structure or union.
    fn resolve(&self, mut ty: Type) -> Option<Type> {
        for _ in 0..16 {
            match ty.kind {
                STRUCT | UNION => return Some(ty),
                // typedef, volatile, const, restrict, type tag
                8..=11 | 18 => ty = self.by_id(ty.size_or_id)?,
                _ => return None,
            }
        }
        None
    }

    /// (offset in bits, type id) of a member; visits at most `nested` anonymous ones on the way.
    fn member(&self, ty: Type, name: u32, nested: &mut u32) -> Option<(u32, u32)> {
        for n in 0..ty.vlen {
            let at = ty.at + TYPE + n * 12;
            let (member, id) = (u32_at(&self.data, at).ok()?, u32_at(&self.data, at + 4).ok()?);
            let raw = u32_at(&self.data, at + 8).ok()?;
            let offset = if ty.bitfields { raw & 0x00ff_ffff } else { raw };
            if member == name {
                return Some((offset, id));
            }
            if member == 0
                && let Some(inner) = self.by_id(id).and_then(|ty| self.resolve(ty))
            {
                *nested = nested.checked_sub(1)?;
                if let Some((more, id)) = self.member(inner, name, nested) {
                    return Some((offset.checked_add(more)?, id));
                }
            }
        }
        None
    }
}

impl Structure<'_> {
    /// In bytes.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.ty.size_or_id
    }

    /// Offset in bytes of a member such as `live.counter`; anonymous members are searched too.
    #[must_use]
    pub fn offset(&self, path: &str) -> Option<u32> {
        self.bit(path).filter(|bits| bits % 8 == 0).map(|bits| bits / 8)
    }

    /// As [`Self::offset`], in bits.
    #[must_use]
    pub fn bit(&self, path: &str) -> Option<u32> {
        let Self { btf, mut ty } = *self;
        let mut bits = 0;
        for part in path.split('.') {
            let mut nested = NESTED;
            let (offset, id) = btf.member(btf.resolve(ty)?, btf.name(part)?, &mut nested)?;
            bits = u32::checked_add(bits, offset)?;
            ty = btf.by_id(id)?;
        }
        Some(bits)
    }
}

/// Length of the data after a type's fixed part.
fn trailer(kind: u32, vlen: usize) -> Result<usize> {
    Ok(match kind {
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => vlen * 12,
        ENUM | FUNC_PROTO => vlen * 8,
        PTR | 7..=12 | 16 | 18 => 0,
        _ => bail!("unknown kind {kind}"),
    })
}

fn u16_at(data: &[u8], at: usize) -> Result<u16> {
    let bytes = data.get(at..at + 2).context("cut off")?;
    Ok(u16::from_ne_bytes(bytes.try_into()?))
}

fn u32_at(data: &[u8], at: usize) -> Result<u32> {
    let bytes = data.get(at..at + 4).context("cut off")?;
    Ok(u32::from_ne_bytes(bytes.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::{Btf, FUNC, INT, MAGIC, PTR, STRUCT, TYPEDEF, UNION};

    /// BTF of these types and strings.
    fn btf(words: &[u32], strings: &[u8]) -> Btf {
        let types: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut data = Vec::from(MAGIC.to_ne_bytes());
        data.extend([1, 0]);
        let (types_len, strings_len) = (types.len(), strings.len());
        for word in [24, 0, types_len, types_len, strings_len] {
            data.extend(u32::try_from(word).expect("small").to_ne_bytes());
        }
        data.extend(types);
        data.extend(strings);
        Btf::parse(data).expect("BTF")
    }

    /// BTF of one union, whose only member has no name.
    fn union_of(member: u32, offset: u32) -> Btf {
        btf(&[1, UNION << 24 | 1 << 31 | 1, 8, 0, member, offset], b"\0task\0pid\0")
    }

    #[test]
    fn a_structure_that_contains_itself_ends() {
        let offset = |btf: &Btf| btf.structure("task").expect("the union").offset("pid");
        assert_eq!(offset(&union_of(1, 1)), None);
        assert_eq!(offset(&union_of(1, u32::MAX)), None);
    }

    #[test]
    fn functions_and_tracepoints_keep_id_and_name() {
        let int = [1, INT << 24, 4, 32];
        let structure = [5, STRUCT << 24 | 1, 4, 10, 1, 0];
        let (pointer, function, typedef) =
            ([0, PTR << 24, 2], [14, FUNC << 24, 3], [19, TYPEDEF << 24, 3]);
        let words = [&int[..], &structure, &pointer, &function, &typedef].concat();
        let all = btf(&words, b"\0int\0task\0pid\0iter\0btf_trace_x\0");
        assert_eq!(all.structure("task").and_then(|task| task.offset("pid")), Some(0));
        let names = Btf::parse(all.names_to_attach_to().expect("a small one")).expect("BTF");
        assert_eq!(names.types.len(), 5);
        assert!(names.structure("task").is_none());
        for (id, name, kind) in [(4, "iter", FUNC), (5, "btf_trace_x", TYPEDEF)] {
            let found = names.find(name, &[kind]).expect(name);
            assert_eq!(found.at, names.by_id(id).expect(name).at, "{name}");
        }
    }
}
