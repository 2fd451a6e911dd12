//! A bigWig as another program may write it: uncompressed, with whatever items it is given.

use std::path::Path;

/// Name and length of a chromosome, and its items `(start, end, value)`.
pub type ForeignChrom<'a> = (&'a str, u32, &'a [(u32, u32, f32)]);

/// Writes chromosomes in alphabetical order, the items of each as one section of type bedGraph, which nothing checks.
///
/// # Reference
/// Kent et al. 2010, supplementary tables 5 to 16.
pub fn write_foreign_bigwig(path: &Path, chroms: &[ForeignChrom<'_>]) {
    let key_size = chroms.iter().map(|(name, ..)| name.len()).max().unwrap();
    let mut file = vec![0; 64];

    let tree_at = file.len() as u64;
    put(&mut file, &[0x78ca_8c91, 256, key_size as u32, 8]);
    file.extend((chroms.len() as u64).to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend([1, 0]);
    file.extend((chroms.len() as u16).to_le_bytes());
    for (index, (name, length, _)) in chroms.iter().enumerate() {
        file.extend(name.bytes());
        file.resize(file.len() + key_size - name.len(), 0);
        put(&mut file, &[index as u32, *length]);
    }

    let data_at = file.len() as u64;
    let sections: Vec<_> = (0..)
        .zip(chroms)
        .filter(|(_, (.., items))| !items.is_empty())
        .map(|(index, (.., items))| {
            let start = items.iter().map(|item| item.0).min().unwrap();
            let end = items.iter().map(|item| item.1).max().unwrap();
            (index, start, end, *items)
        })
        .collect();
    file.extend((sections.len() as u64).to_le_bytes());
    let mut leaves = Vec::new();
    for (index, start, end, items) in &sections {
        let section_at = file.len();
        put(&mut file, &[*index, *start, *end, 0, 0]);
        file.extend([1, 0]);
        file.extend((items.len() as u16).to_le_bytes());
        for (start, end, value) in *items {
            put(&mut file, &[*start, *end, value.to_bits()]);
        }
        put(&mut leaves, &[*index, *start, *index, *end]);
        leaves.extend((section_at as u64).to_le_bytes());
        leaves.extend((file.len() as u64 - section_at as u64).to_le_bytes());
    }

    let index_at = file.len() as u64;
    put(&mut file, &[0x2468_ace0, 256]);
    file.extend((sections.len() as u64).to_le_bytes());
    let (first, last) = (sections.first().unwrap(), sections.last().unwrap());
    put(&mut file, &[first.0, first.1, last.0, last.2]);
    file.extend(index_at.to_le_bytes());
    put(&mut file, &[1, 0]);
    file.extend([1, 0]);
    file.extend((sections.len() as u16).to_le_bytes());
    file.extend(leaves);

    let mut header = Vec::new();
    put(&mut header, &[0x888f_fc26, 4]);
    for offset in [tree_at, data_at, index_at] {
        header.extend(offset.to_le_bytes());
    }
    file[..header.len()].copy_from_slice(&header);
    std::fs::write(path, file).unwrap();
}

fn put(bytes: &mut Vec<u8>, numbers: &[u32]) {
    for number in numbers {
        bytes.extend(number.to_le_bytes());
    }
}
