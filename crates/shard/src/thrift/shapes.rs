//! Types of the fields of a Parquet footer and of a page's header, by their numbers (`parquet.thrift`).
//!
//! What the library does not read is left out: it passes over such fields by the type that the file says, as is done here.

/// What a field must be.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// `i16`, `i32`, `i64` or an enumeration: all are stored alike.
    Integer,
    /// `i8`.
    Byte,
    /// `bool`.
    Truth,
    /// `binary` or `string`.
    Bytes,
    /// A structure or union.
    Struct(Fields),
    /// A list of one type.
    List(&'static Shape),
}

/// Fields of a structure.
pub(super) type Fields = &'static [(i64, Shape)];

use Shape::{Byte, Bytes, Integer, List, Struct, Truth};

/// `FileMetaData`.
pub(super) const FOOTER: Fields = &[
    (1, Integer),
    (2, List(&Struct(SCHEMA_ELEMENT))),
    (3, Integer),
    (4, List(&Struct(ROW_GROUP))),
    (5, List(&Struct(KEY_VALUE))),
    (6, Bytes),
    (7, List(&Struct(COLUMN_ORDER))),
];
const SCHEMA_ELEMENT: Fields = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Bytes),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Integer),
    (9, Integer),
    (10, Struct(LOGICAL_TYPE)),
];
const EMPTY: Shape = Struct(&[]);
const TIME: Shape = Struct(&[(1, Truth), (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))]);
const LOGICAL_TYPE: Fields = &[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, Integer), (2, Integer)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Truth)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Bytes)])),
    (18, Struct(&[(1, Bytes), (2, Integer)])),
];
const ROW_GROUP: Fields = &[
    (1, List(&Struct(COLUMN_CHUNK))),
    (2, Integer),
    (3, Integer),
    (4, List(&Struct(&[(1, Integer), (2, Truth), (3, Truth)]))),
    (5, Integer),
    (6, Integer),
    (7, Integer),
];
const COLUMN_CHUNK: Fields =
    &[(1, Bytes), (2, Integer), (3, Struct(COLUMN_META_DATA)), (4, Integer), (5, Integer), (6, Integer), (7, Integer)];
const COLUMN_META_DATA: Fields = &[
    (1, Integer),
    (2, List(&Integer)),
    (3, List(&Bytes)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, List(&Struct(KEY_VALUE))),
    (9, Integer),
    (10, Integer),
    (11, Integer),
    (12, Struct(STATISTICS)),
    (13, List(&Struct(&[(1, Integer), (2, Integer), (3, Integer)]))),
    (14, Integer),
    (15, Integer),
    (16, Struct(&[(1, Integer), (2, List(&Integer)), (3, List(&Integer))])),
    (17, Struct(&[(2, List(&Integer))])),
];
const STATISTICS: Fields = &[(1, Bytes), (2, Bytes), (3, Integer), (4, Integer), (5, Bytes), (6, Bytes), (7, Truth), (8, Truth)];
const KEY_VALUE: Fields = &[(1, Bytes), (2, Bytes)];
const COLUMN_ORDER: Fields = &[(1, EMPTY)];

/// Number of the field of a page's header that says its size once unpacked.
pub(super) const UNCOMPRESSED_SIZE: i64 = 2;
/// Number of the field that says its size in the file. Both are without the header.
pub(super) const COMPRESSED_SIZE: i64 = 3;
/// `PageHeader`.
pub(super) const PAGE_HEADER: Fields = &[
    (1, Integer),
    (UNCOMPRESSED_SIZE, Integer),
    (COMPRESSED_SIZE, Integer),
    (4, Integer),
    (5, Struct(&[(1, Integer), (2, Integer), (3, Integer), (4, Integer), (5, Struct(STATISTICS))])),
    (6, EMPTY),
    (7, Struct(&[(1, Integer), (2, Integer), (3, Truth)])),
    (
        8,
        Struct(&[
            (1, Integer),
            (2, Integer),
            (3, Integer),
            (4, Integer),
            (5, Integer),
            (6, Integer),
            (7, Truth),
            (8, Struct(STATISTICS)),
        ]),
    ),
];
