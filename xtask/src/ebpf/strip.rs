//! Removes DWARF, most of the object's size: BTF is generated from it at link time, and nothing reads it later.

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// Removes the DWARF sections and their relocations, and nothing else.
pub(super) fn strip_dwarf(elf: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(elf).context("the linker's output is not an ELF object")?;
    for section in &mut builder.sections {
        section.delete =
            [&b".debug_"[..], b".rel.debug_"].iter().any(|prefix| section.name.starts_with(prefix));
    }
    // Symbols of deleted sections.
    builder.delete_orphans();
    // LLVM keeps the names of sections and of symbols in one table; the writer wants two.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("writing the stripped object")?;
    Ok(stripped)
}
