//! Where a cooler's data sets are inside an HDF5 file, and what errors call them.

use std::path::Path;

use hdf5_pure::{AttrValue, ChunkIndex, Dataset, Error, File, Group};

use super::super::{FactorKind, Normalization, listing};
use crate::error::GenomeError;

/// The group of one bin size: one of many in a `.mcool`, the root of a `.cool`.
pub(super) struct Node<'a> {
    path: &'a Path,
    file: &'a File,
    /// Absolute path inside the file, `""` for the root.
    group: String,
}

impl<'a> Node<'a> {
    /// Finds the group of a bin size.
    pub(super) fn choose(
        path: &'a Path,
        file: &'a File,
        resolution: u64,
    ) -> Result<Self, GenomeError> {
        let at = |group: String| Node { path, file, group };
        let root = file.root();
        let groups = root.groups().map_err(|error| refuse(path, "/", error))?;
        let has = |name: &str| groups.iter().any(|group| group == name);
        let mut available: Vec<u64> = Vec::new();
        if has("resolutions") {
            let names = file
                .group("resolutions")
                .and_then(|group| group.groups())
                .map_err(|error| refuse(path, "/resolutions", error))?;
            available.extend(names.iter().filter_map(|name| name.parse::<u64>().ok()));
            available.sort_unstable();
            if resolution > 0 && available.contains(&resolution) {
                return Ok(at(format!("/resolutions/{resolution}")));
            }
        } else if has("pixels") {
            at(String::new()).check_kind()?;
            let attributes = root.attrs().map_err(|error| refuse(path, "/", error))?;
            available.extend(attributes.get("bin-size").and_then(number_of));
            if resolution > 0 && available.contains(&resolution) {
                return Ok(at(String::new()));
            }
        } else {
            let reason = match has("cells") {
                true => "this is a single-cell cooler (.scool); give the .cool of one cell",
                false => "this HDF5 file has neither resolutions nor pixels, so it is no cooler",
            };
            return Err(GenomeError::CorruptObject {
                path: path.to_path_buf(),
                object: "/".to_string(),
                reason: reason.to_string(),
            });
        }
        Err(GenomeError::UnknownResolution {
            path: path.to_path_buf(),
            wanted: resolution,
            available: listing(available),
        })
    }

    pub(super) fn into_group(self) -> String {
        self.group
    }

    fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.group)
    }

    pub(super) fn damaged(&self, name: &str, reason: &str) -> GenomeError {
        damaged(self.path, &self.object(name), reason)
    }

    pub(super) fn dataset(&self, name: &str) -> Result<Dataset, GenomeError> {
        let object = self.object(name);
        let dataset = self
            .file
            .dataset(object.trim_start_matches('/'))
            .map_err(|error| refuse(self.path, &object, error))?;
        check_chunks(self.path, &object, &dataset, self.n_stored())?;
        Ok(dataset)
    }

    /// Reads the whole of a small data set.
    pub(super) fn read<T>(
        &self,
        name: &str,
        read: impl Fn(&Dataset) -> Result<Vec<T>, Error>,
    ) -> Result<Vec<T>, GenomeError> {
        let (dataset, object) = (self.dataset(name)?, self.object(name));
        check_size(self.path, &object, &dataset, self.n_stored(), None)?;
        let values = read(&dataset).map_err(|error| refuse(self.path, &object, error))?;
        check_number(
            self.path,
            &object,
            values.len(),
            self.n_rows(name, &dataset)?,
        )?;
        Ok(values)
    }

    /// The columns of the pixel table: row, column and count, all of one length.
    pub(super) fn pixel_columns(&self) -> Result<[Dataset; 3], GenomeError> {
        let names = ["pixels/bin1_id", "pixels/bin2_id", "pixels/count"];
        let [rows, columns, counts] = names.map(|name| self.dataset(name));
        let datasets = [rows?, columns?, counts?];
        let n_pixels = self.n_rows(names[0], &datasets[0])?;
        for (name, dataset) in names.iter().zip(&datasets) {
            let n_rows = self.n_rows(name, dataset)?;
            if n_rows != n_pixels {
                let reason = format!("it has {n_rows} values, but {} has {n_pixels}", names[0]);
                return Err(self.damaged(name, &reason));
            }
        }
        Ok(datasets)
    }

    /// Number of values of a data set.
    pub(super) fn n_rows(&self, name: &str, dataset: &Dataset) -> Result<u64, GenomeError> {
        let shape = dataset
            .shape()
            .map_err(|error| refuse(self.path, &self.object(name), error))?;
        match shape.as_slice() {
            &[n_rows] => Ok(n_rows),
            _ => Err(self.damaged(name, &format!("it has {} dimensions, not 1", shape.len()))),
        }
    }

    /// Size of the file in bytes.
    pub(super) fn n_stored(&self) -> u64 {
        self.file.file_size()
    }

    fn child(&self, name: &str) -> Result<Group, GenomeError> {
        let object = self.object(name);
        match object.trim_matches('/') {
            "" => Ok(self.file.root()),
            inside => self
                .file
                .group(inside)
                .map_err(|error| refuse(self.path, &object, error)),
        }
    }

    /// Refuses what is stored like a cooler but means something else.
    pub(super) fn check_kind(&self) -> Result<(), GenomeError> {
        let attributes = self
            .child("")?
            .attrs()
            .map_err(|error| refuse(self.path, &self.object(""), error))?;
        for (name, expected, remedy) in [
            (
                "bin-type",
                "fixed",
                "bin the contacts again, in bins of one size",
            ),
            (
                "storage-mode",
                "symmetric-upper",
                "write the map again with the pixels of the upper triangle, as cooler load does by itself",
            ),
        ] {
            if let Some(found) = attributes.get(name).and_then(text_of)
                && found != expected
            {
                return Err(GenomeError::CorruptObject {
                    path: self.path.to_path_buf(),
                    object: self.object(""),
                    reason: format!("{name} is {found:?}, only {expected:?} can be read; {remedy}"),
                });
            }
        }
        Ok(())
    }

    /// Finds the column of factors under the names that cooler and hictk give it.
    ///
    /// Its attribute `divisive_weights` goes before the kind that the name stands for, as in hictk.
    pub(super) fn open_factors(
        &self,
        normalization: Normalization,
        resolution: u64,
    ) -> Result<Option<(String, Dataset, FactorKind)>, GenomeError> {
        let (names, kind): (&[&str], _) = match normalization {
            Normalization::None => return Ok(None),
            Normalization::Weight => (&["weight"], FactorKind::Multiply),
            Normalization::Vc => (&["VC"], FactorKind::Divide),
            Normalization::VcSqrt => (&["VC_SQRT", "SQRT_VC"], FactorKind::Divide),
            Normalization::Kr => (&["KR"], FactorKind::Divide),
            Normalization::Scale => (&["SCALE"], FactorKind::Divide),
        };
        let columns = self
            .child("bins")?
            .datasets()
            .map_err(|error| refuse(self.path, &self.object("bins"), error))?;
        if let Some(name) = names
            .iter()
            .find(|name| columns.iter().any(|found| found == *name))
        {
            let name = format!("bins/{name}");
            let dataset = self.dataset(&name)?;
            let attributes = dataset
                .attrs()
                .map_err(|error| refuse(self.path, &self.object(&name), error))?;
            let is_divisive = attributes.get("divisive_weights").and_then(number_of);
            let kind = is_divisive.map_or(kind, |is_divisive| match is_divisive {
                0 => FactorKind::Multiply,
                _ => FactorKind::Divide,
            });
            return Ok(Some((name, dataset, kind)));
        }
        let mut available: Vec<String> = columns
            .iter()
            .filter(|column| !["chrom", "start", "end"].contains(&column.as_str()))
            .map(|column| column.to_ascii_lowercase())
            .collect();
        available.push("none".to_string());
        available.sort_unstable();
        Err(GenomeError::UnknownNormalization {
            path: self.path.to_path_buf(),
            wanted: normalization.to_string(),
            object: "the file".to_string(),
            resolution,
            available: listing(available),
        })
    }
}

/// Deflate, the densest of the filters in use, makes at most this much of one byte.
const MAX_EXPANSION: u64 = 1032;

/// Refuses a size that the file cannot hold before memory is asked for it.
///
/// `rows` is the first row and the number of rows to be read, all of them when `None`;
/// `n_stored` is the size of the file in bytes.
pub(in super::super) fn check_size(
    path: &Path,
    object: &str,
    dataset: &Dataset,
    n_stored: u64,
    rows: Option<(u64, u64)>,
) -> Result<(), GenomeError> {
    let refused = |error| refuse(path, object, error);
    let shape = dataset.shape().map_err(refused)?;
    let chunk = dataset.chunk_shape().map_err(refused)?.unwrap_or_default();
    let element = dataset.element_size().map_err(refused)?;
    let &[n_rows] = shape.as_slice() else {
        return Err(damaged(
            path,
            object,
            &format!("it has {} dimensions, not 1", shape.len()),
        ));
    };
    let (first, count) = rows.unwrap_or((0, n_rows));
    if first.checked_add(count).is_none_or(|end| end > n_rows) {
        let end = first.saturating_add(count);
        return Err(damaged(
            path,
            object,
            &format!("it has {n_rows} values and should have {end}"),
        ));
    }
    let most = n_stored.saturating_mul(MAX_EXPANSION);
    for n_elements in [
        count,
        chunk.iter().fold(1, |n, &side| n.saturating_mul(side)),
    ] {
        let n_bytes = n_elements.saturating_mul(element);
        if n_bytes > most {
            let reason = format!("{n_bytes} bytes do not fit in a file of {n_stored}");
            return Err(damaged(path, object, &reason));
        }
    }
    Ok(())
}

/// Refuses fewer values than were asked for: the library reads none of a type that it does not know,
/// for example of half precision.
pub(in super::super) fn check_number(
    path: &Path,
    object: &str,
    n_read: usize,
    n_wanted: u64,
) -> Result<(), GenomeError> {
    if n_read as u64 == n_wanted {
        return Ok(());
    }
    Err(GenomeError::CorruptObject {
        path: path.to_path_buf(),
        object: object.to_string(),
        reason: format!(
            "{n_read} of {n_wanted} values can be read; store them as 32- or 64-bit numbers"
        ),
    })
}

/// Refuses a data set whose chunks lie outside the file, before memory is asked for one.
pub(in super::super) fn check_chunks(
    path: &Path,
    object: &str,
    dataset: &Dataset,
    n_stored: u64,
) -> Result<(), GenomeError> {
    let refused = |error| refuse(path, object, error);
    match dataset.chunk_index().map_err(refused)? {
        // The library lists no chunks of this kind of index.
        None | Some(ChunkIndex::BTreeV2) => return Ok(()),
        Some(_) => {}
    }
    for chunk in dataset.chunks().map_err(refused)? {
        let end = chunk.address.checked_add(chunk.storage_size);
        if end.is_none_or(|end| end > n_stored) {
            let reason = format!(
                "{} bytes at byte {} do not lie in a file of {n_stored}",
                chunk.storage_size, chunk.address
            );
            return Err(damaged(path, object, &reason));
        }
    }
    Ok(())
}

fn number_of(value: &AttrValue) -> Option<u64> {
    match *value {
        AttrValue::I8(value) => u64::try_from(value).ok(),
        AttrValue::I16(value) => u64::try_from(value).ok(),
        AttrValue::I32(value) => u64::try_from(value).ok(),
        AttrValue::I64(value) => u64::try_from(value).ok(),
        AttrValue::U8(value) => Some(u64::from(value)),
        AttrValue::U16(value) => Some(u64::from(value)),
        AttrValue::U32(value) => Some(u64::from(value)),
        AttrValue::U64(value) => Some(value),
        _ => None,
    }
}

fn text_of(value: &AttrValue) -> Option<&str> {
    match value {
        AttrValue::String(text)
        | AttrValue::AsciiString(text)
        | AttrValue::VarLenString(text)
        | AttrValue::VarLenAsciiString(text) => Some(text),
        AttrValue::StringSized { value, .. } | AttrValue::AsciiStringSized { value, .. } => {
            Some(value)
        }
        _ => None,
    }
}

/// An error for an object that makes no sense, with the likely cause.
pub(in super::super) fn damaged(path: &Path, object: &str, reason: &str) -> GenomeError {
    GenomeError::CorruptObject {
        path: path.to_path_buf(),
        object: object.to_string(),
        reason: format!("{reason}; the file is cut off or damaged, copy it again"),
    }
}

/// Says in the crate's own terms what the HDF5 library refused.
pub(in super::super) fn refuse(path: &Path, object: &str, error: Error) -> GenomeError {
    match error {
        Error::Io(source) => GenomeError::io(path, "read")(source),
        other => damaged(path, object, &other.to_string()),
    }
}
