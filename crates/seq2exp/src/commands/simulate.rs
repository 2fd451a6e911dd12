//! `seq2exp simulate`.

use std::path::Path;

use anyhow::Result;

use crate::cli::SimulateArgs;
use crate::config::{apply_override, name_override};
use crate::error::RunError;
use crate::simulate::{
    DELTA_FILE, EXPERIMENT_FILE, SETTINGS_FILE, SimulationConfig, TRUTH_FILE, simulate,
};

/// Writes a simulation.
pub fn execute(args: &SimulateArgs) -> Result<()> {
    let config = read_settings(args.settings.as_deref(), &args.overrides)?;
    let summary = simulate(&config, &args.folder)?;
    eprintln!(
        "{} genes, {} elements of which {} decide expression, in {}: run {EXPERIMENT_FILE} or {DELTA_FILE}, compare with {TRUTH_FILE}",
        summary.n_genes,
        summary.n_elements,
        summary.n_active,
        args.folder.display(),
    );
    Ok(())
}

fn read_settings(path: Option<&Path>, overrides: &[String]) -> Result<SimulationConfig, RunError> {
    let name = path.unwrap_or(Path::new(SETTINGS_FILE));
    let text = match path {
        Some(path) => std::fs::read_to_string(path).map_err(|source| RunError::Io {
            path: path.to_path_buf(),
            source,
        })?,
        None => String::new(),
    };
    let syntax = |source: toml::de::Error| RunError::ConfigSyntax {
        path: name.to_path_buf(),
        message: source.to_string().trim_end().to_string(),
    };
    // The text itself is read first, so that its mistakes are reported with line and column.
    toml::from_str::<SimulationConfig>(&text).map_err(syntax)?;
    let table: toml::Table = toml::from_str(&text).map_err(syntax)?;
    let parse = |overrides: &[String]| -> Result<SimulationConfig, RunError> {
        let mut table = table.clone();
        for item in overrides {
            apply_override(&mut table, item)?;
        }
        table
            .try_into()
            .map_err(|source: toml::de::Error| RunError::Override {
                item: overrides.join(" "),
                message: source.to_string().trim_end().to_string(),
            })
    };
    parse(overrides).map_err(|error| name_override(error, overrides, |some| parse(some).err()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_from_the_file_then_from_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(
            &path,
            "n_genes = 50\nseed = 3\n[elements]\nactive = [1, 1]\n",
        )
        .unwrap();
        let overrides = [
            "seed=4".to_string(),
            "elements.signal_only=[0, 1]".to_string(),
        ];
        let config = read_settings(Some(&path), &overrides).unwrap();
        assert_eq!((config.n_genes, config.seed), (50, 4));
        assert_eq!(config.elements.active, [1, 1]);
        assert_eq!(config.elements.signal_only, [0, 1]);
        assert_eq!(
            read_settings(None, &[]).unwrap(),
            SimulationConfig::default()
        );

        std::fs::write(&path, "n_genes = 50\nn_gene = 3\n").unwrap();
        let error = read_settings(Some(&path), &[]).unwrap_err().to_string();
        assert!(
            error.contains("a.toml") && error.contains("n_gene") && error.contains("line 2"),
            "{error}"
        );
        let overrides = ["seed=4", "motif_copys=1"].map(str::to_string);
        let error = read_settings(None, &overrides).unwrap_err().to_string();
        assert!(error.starts_with("--set motif_copys=1: "), "{error}");
    }
}
