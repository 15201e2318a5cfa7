//! The columns that JSON values are collected in: one builder per column type.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, FixedSizeListArray, Float32Array, Float64Builder,
    Int64Builder, ListArray, NullBufferBuilder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use crds::ScalarType;
use serde_json::Value;

use super::error::Mismatch;
use super::json_values::{boolean, bytes, date, describe, int64, number, string, timestamp};
use super::limits::{a_type, check_dimension, vector_item};
use crate::schema::ColumnType;

/// A column under construction.
pub(super) enum ColumnCells {
    Scalar(ScalarCells),
    List {
        field: FieldRef,
        items: ScalarCells,
        lengths: Vec<usize>,
        validity: NullBufferBuilder,
    },
    Vector {
        field: FieldRef,
        dimension: usize,
        numbers: Vec<f32>,
        validity: NullBufferBuilder,
    },
}

pub(super) enum ScalarCells {
    String(StringBuilder),
    Bool(BooleanBuilder),
    Int64(Int64Builder),
    Double(Float64Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Bytes(BinaryBuilder),
}

impl ColumnCells {
    pub(super) fn new(column_type: ColumnType, rows: usize) -> Self {
        let validity = NullBufferBuilder::new(rows);
        match (column_type, column_type.arrow()) {
            (ColumnType::List(scalar), DataType::List(field)) => Self::List {
                field,
                items: ScalarCells::new(scalar, rows),
                lengths: Vec::with_capacity(rows),
                validity,
            },
            (ColumnType::Vector(dimension), DataType::FixedSizeList(field, _)) => {
                let dimension = dimension as usize;
                Self::Vector {
                    field,
                    dimension,
                    numbers: Vec::with_capacity(rows * dimension),
                    validity,
                }
            }
            (ColumnType::Scalar(scalar) | ColumnType::List(scalar), _) => {
                Self::Scalar(ScalarCells::new(scalar, rows))
            }
            (ColumnType::Vector(_), _) => Self::Scalar(ScalarCells::new(ScalarType::Double, rows)),
        }
    }

    /// Takes a value that is not null.
    pub(super) fn append(&mut self, value: &Value) -> Result<(), Mismatch> {
        match (self, value) {
            (Self::Scalar(cells), value) => cells.append(value)?,
            (
                Self::List {
                    items,
                    lengths,
                    validity,
                    ..
                },
                Value::Array(values),
            ) => {
                for (index, value) in values.iter().enumerate() {
                    items.append(value).map_err(|mismatch| mismatch.in_item(index))?;
                }
                lengths.push(values.len());
                validity.append_non_null();
            }
            (
                Self::Vector {
                    dimension,
                    numbers,
                    validity,
                    ..
                },
                Value::Array(values),
            ) => {
                for (index, value) in values.iter().enumerate() {
                    numbers.push(
                        number(value)
                            .and_then(vector_item)
                            .map_err(|mismatch| mismatch.in_item(index))?,
                    );
                }
                check_dimension(*dimension, values.len())?;
                validity.append_non_null();
            }
            (Self::List { items, .. }, other) => {
                return Err(Mismatch::new(
                    a_type(ColumnType::List(items.scalar())),
                    describe(other),
                ));
            }
            (Self::Vector { dimension, .. }, other) => {
                return Err(Mismatch::new(
                    format!("a vector of dimension {dimension}"),
                    describe(other),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Self::Scalar(cells) => cells.append_null(),
            Self::List {
                lengths, validity, ..
            } => {
                lengths.push(0);
                validity.append_null();
            }
            Self::Vector {
                dimension,
                numbers,
                validity,
                ..
            } => {
                numbers.resize(numbers.len() + *dimension, 0.0);
                validity.append_null();
            }
        }
    }

    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Scalar(cells) => cells.finish(),
            Self::List {
                field,
                items,
                lengths,
                mut validity,
            } => {
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::try_new(
                    field,
                    offsets,
                    items.finish(),
                    validity.finish(),
                )?)
            }
            Self::Vector {
                field,
                dimension,
                numbers,
                mut validity,
            } => {
                let size = i32::try_from(dimension).unwrap_or(i32::MAX);
                let numbers = Arc::new(Float32Array::from(numbers));
                Arc::new(FixedSizeListArray::try_new(
                    field,
                    size,
                    numbers,
                    validity.finish(),
                )?)
            }
        })
    }
}

impl ScalarCells {
    fn new(scalar: ScalarType, rows: usize) -> Self {
        const TYPICAL_BYTES: usize = 16;
        match scalar {
            ScalarType::String => Self::String(StringBuilder::with_capacity(rows, rows * TYPICAL_BYTES)),
            ScalarType::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            ScalarType::Int64 => Self::Int64(Int64Builder::with_capacity(rows)),
            ScalarType::Double => Self::Double(Float64Builder::with_capacity(rows)),
            ScalarType::Date => Self::Date(Date32Builder::with_capacity(rows)),
            ScalarType::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"))
            }
            ScalarType::Bytes => Self::Bytes(BinaryBuilder::with_capacity(rows, rows * TYPICAL_BYTES)),
        }
    }

    fn scalar(&self) -> ScalarType {
        match self {
            Self::String(_) => ScalarType::String,
            Self::Bool(_) => ScalarType::Bool,
            Self::Int64(_) => ScalarType::Int64,
            Self::Double(_) => ScalarType::Double,
            Self::Date(_) => ScalarType::Date,
            Self::Timestamp(_) => ScalarType::Timestamp,
            Self::Bytes(_) => ScalarType::Bytes,
        }
    }

    fn append(&mut self, value: &Value) -> Result<(), Mismatch> {
        match self {
            Self::String(cells) => cells.append_value(string(value)?),
            Self::Bool(cells) => cells.append_value(boolean(value)?),
            Self::Int64(cells) => cells.append_value(int64(value)?),
            Self::Double(cells) => cells.append_value(number(value)?),
            Self::Date(cells) => cells.append_value(date(value)?),
            Self::Timestamp(cells) => cells.append_value(timestamp(value)?),
            Self::Bytes(cells) => cells.append_value(bytes(value)?),
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::String(cells) => cells.append_null(),
            Self::Bool(cells) => cells.append_null(),
            Self::Int64(cells) => cells.append_null(),
            Self::Double(cells) => cells.append_null(),
            Self::Date(cells) => cells.append_null(),
            Self::Timestamp(cells) => cells.append_null(),
            Self::Bytes(cells) => cells.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::String(mut cells) => Arc::new(cells.finish()),
            Self::Bool(mut cells) => Arc::new(cells.finish()),
            Self::Int64(mut cells) => Arc::new(cells.finish()),
            Self::Double(mut cells) => Arc::new(cells.finish()),
            Self::Date(mut cells) => Arc::new(cells.finish()),
            Self::Timestamp(mut cells) => Arc::new(cells.finish()),
            Self::Bytes(mut cells) => Arc::new(cells.finish()),
        }
    }
}
