//! Contact of single genes, computed before and stored one data set a gene.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_pure::{Dataset, File};

use super::cool::{check_chunks, check_number, check_size, damaged, refuse};
use super::listing;
use crate::error::{GenomeError, shorten};
use crate::panic_guard::catch_panic;

/// Name of a chromosome's file: `hic_feat_chr22.h5`.
const PREFIX: &str = "hic_feat_";
const SUFFIX: &str = ".h5";

/// A folder of `hic_feat_<chrom>.h5` files, as the released data set has its contacts.
///
/// Each holds one data set a start site, `<chrom>_<tss>`, with one value a base of
/// `[tss - n/2, tss + n/2)`: the contact as a model sees it but for its logarithm, pseudocount
/// included. Outside the chromosome it is 0; NaN where the gene has no usable contacts.
#[derive(Debug)]
pub struct StoredContacts {
    folder: PathBuf,
    files: BTreeMap<String, PathBuf>,
    open: Mutex<HashMap<String, Arc<File>>>,
}

impl StoredContacts {
    /// Lists the files of a folder.
    ///
    /// # Errors
    /// [`GenomeError::Io`]; [`GenomeError::Empty`] when none has such a name.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, GenomeError> {
        let folder = folder.as_ref();
        let mut files = BTreeMap::new();
        let entries = std::fs::read_dir(folder).map_err(GenomeError::io(folder, "open"))?;
        for entry in entries {
            let path = entry.map_err(GenomeError::io(folder, "read"))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let chrom = name
                .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX))
                .map(str::to_string);
            if let Some(chrom) = chrom {
                files.insert(chrom, path);
            }
        }
        match files.is_empty() {
            true => Err(GenomeError::Empty {
                path: folder.to_path_buf(),
                what: "hic_feat_<chromosome>.h5",
            }),
            false => Ok(StoredContacts {
                folder: folder.to_path_buf(),
                files,
                open: Mutex::default(),
            }),
        }
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The file of a chromosome; the folder when it has none.
    pub fn file_of(&self, chrom: &str) -> &Path {
        self.files.get(chrom).unwrap_or(&self.folder)
    }

    /// The chromosomes that have a file, sorted.
    pub fn chroms(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Reads what is stored for a start site (0-based): one value a base, an even number of them,
    /// the start site in the middle.
    ///
    /// # Errors
    /// [`GenomeError::UnknownChrom`] when the chromosome has no file; [`GenomeError::CorruptObject`]
    /// when the start site has no data set or it cannot be read.
    pub fn read(&self, chrom: &str, tss: u64) -> Result<Vec<f64>, GenomeError> {
        let path = self
            .files
            .get(chrom)
            .ok_or_else(|| GenomeError::UnknownChrom {
                path: self.folder.clone(),
                chrom: shorten(chrom),
                hint: format!("there are {}", listing(self.chroms())),
            })?;
        let name = format!("{chrom}_{tss}");
        catch_panic(|| self.read_unguarded(path, chrom, &name))
            .map_err(|message| damaged(path, &name, &message))?
    }

    fn read_unguarded(
        &self,
        path: &Path,
        chrom: &str,
        name: &str,
    ) -> Result<Vec<f64>, GenomeError> {
        let file = self.file(path, chrom)?;
        let refused = |error| refuse(path, name, error);
        let dataset: Dataset = file.dataset(name).map_err(|error| match error {
            hdf5_pure::Error::Io(_) => refused(error),
            other => GenomeError::CorruptObject {
                path: path.to_path_buf(),
                object: name.to_string(),
                reason: format!(
                    "no contact is stored for this start site ({other}); leave the start sites where \
                     the folder has them (no tss_peaks), or give a contact map"
                ),
            },
        })?;
        check_chunks(path, name, &dataset, file.file_size())?;
        check_size(path, name, &dataset, file.file_size(), None)?;
        let n_stored = dataset.shape().map_err(refused)?.iter().product();
        let values = dataset.read_f64().map_err(refused)?;
        check_number(path, name, values.len(), n_stored)?;
        match values.len() {
            0 => Err(damaged(path, name, "it is empty")),
            n if n % 2 == 1 => Err(damaged(
                path,
                name,
                &format!("{n} values have no middle; there must be an even number"),
            )),
            _ => Ok(values),
        }
    }

    /// The file of a chromosome, opened once.
    fn file(&self, path: &Path, chrom: &str) -> Result<Arc<File>, GenomeError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(chrom) {
            return Ok(Arc::clone(file));
        }
        let file = File::open_streaming(path).map_err(|error| refuse(path, "/", error))?;
        let file = Arc::new(file);
        open.insert(chrom.to_string(), Arc::clone(&file));
        Ok(file)
    }
}
