//! A data set and a model turned around: rows and columns change places, so that new products are new users.

use super::super::engine::key_of;
use super::super::stored_model::StoredModel;
use crate::failure::Failure;
use std::collections::BTreeMap;
use tensor::{DataSet, Delta, Mode, PartitionRef, Partitions};

/// Partitions whose users are the products.
pub fn turned_partitions(partitions: &Partitions) -> Partitions {
    Partitions {
        user_major: partitions.product_major.clone(),
        product_major: partitions.user_major.clone(),
        ..partitions.clone()
    }
}

fn other(mode: Mode) -> Mode {
    match mode {
        Mode::User => Mode::Product,
        Mode::Product => Mode::User,
        small => small,
    }
}

/// A data set whose users are the products, under a lineage of its own.
pub fn turned_data(data: &DataSet) -> DataSet {
    let delta = |delta: &Delta| {
        let turned: (BTreeMap<u32, PartitionRef>, _) =
            (delta.product_major.clone(), delta.user_major.clone());
        Delta {
            user_major: turned.0,
            product_major: turned.1,
            ..delta.clone()
        }
    };
    let parts = data.parts.iter();
    let attributes = data.attributes.iter();
    DataSet {
        lineage: key_of(&[b"turned around", &data.lineage.0]),
        user: data.product.clone(),
        product: data.user.clone(),
        parts: parts
            .map(|(part, of)| (*part, turned_partitions(of)))
            .collect(),
        deltas: data.deltas.iter().map(delta).collect(),
        attributes: attributes
            .map(|(mode, of)| (other(*mode), of.clone()))
            .collect(),
        edges: BTreeMap::new(),
        ..data.clone()
    }
}

/// A model whose users are the products.
///
/// # Errors
/// Where its manifest cannot be read.
pub fn turned_model(model: &StoredModel) -> Result<StoredModel, Failure> {
    let mut manifest = model.manifest.clone();
    for table in &mut manifest.tables {
        let name = table.name.strip_prefix(table.mode.name());
        let mode = other(table.mode);
        table.name = format!("{mode}{}", name.unwrap_or_default());
        table.mode = mode;
    }
    manifest.tables.sort_by_key(|table| table.mode);
    let turned = StoredModel::of(manifest)?;
    Ok(turned)
}
