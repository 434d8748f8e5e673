//! docs/SCHEMA.md is what a migrated database says of itself. `make generate` writes it anew.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use dgm_service::store::integrity::OBJECTS;

use crate::support::Database;

/// Tables of the schema, without sqlx's bookkeeping and without partitions.
const TABLES: &str = "
    SELECT c.relname, coalesce(obj_description(c.oid), '') FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname <> '_sqlx_migrations' ORDER BY c.relname";
/// Column, type, whether it may be null, default or generation, comment, and key marks.
const COLUMNS: &str = "
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN '' ELSE 'null' END,
        replace(coalesce(CASE WHEN a.attidentity <> '' THEN 'identity' ELSE pg_get_expr(d.adbin, d.adrelid) END, ''),
                E'\\n', ' '),
        coalesce(col_description(a.attrelid, a.attnum), ''),
        concat_ws(',',
            CASE WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'p'
                              AND a.attnum = ANY (k.conkey)) THEN 'PK' END,
            CASE WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'f'
                              AND a.attnum = ANY (k.conkey)) THEN 'FK' END)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = 'TABLE'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
const CONSTRAINTS: &str = "
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'TABLE'::regclass AND contype <> 'n'
    ORDER BY contype <> 'p', contype, conname";
const INDEXES: &str = "
    SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = 'TABLE'::regclass AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    ORDER BY indexrelid::regclass::text";
const TRIGGERS: &str = "
    SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'TABLE'::regclass AND NOT tgisinternal
    ORDER BY tgname";
const REFERENCES: &str = "
    SELECT conrelid::regclass, confrelid::regclass, string_agg(a.attname, ', ' ORDER BY a.attname) FROM pg_constraint k
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
    WHERE k.contype = 'f' GROUP BY k.oid, conrelid, confrelid ORDER BY 1, 2, 3";
const FUNCTIONS: &str = "
    SELECT proname, pg_get_function_identity_arguments(oid), pg_get_function_result(oid) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace ORDER BY proname";

/// Fields of every row.
fn rows(database: &Database, query: &str, table: &str) -> Vec<Vec<String>> {
    let output = Command::new("psql")
        .env("PGOPTIONS", crate::support::hostile::pgoptions())
        .args(["-XAtq", "-F", "\x1f", "-c", &query.replace("TABLE", table)])
        .arg(database.url())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\x1f').map(str::to_owned).collect()).collect()
}

fn diagram(database: &Database, tables: &[Vec<String>]) -> String {
    let mut text = String::from("```mermaid\nerDiagram\n");
    for row in rows(database, REFERENCES, "") {
        // Many of the left refer to one of the right.
        writeln!(text, "    {} }}o--o| {} : \"{}\"", row[0], row[1], row[2]).unwrap();
    }
    for table in tables {
        writeln!(text, "    {} {{", table[0]).unwrap();
        for column in rows(database, COLUMNS, &table[0]) {
            // Mermaid's types are single words.
            let kind = column[1].replace(['(', ' ', ','], "_").replace(')', "");
            writeln!(text, "        {}", format!("{kind} {} {}", column[0], column[5]).trim_end()).unwrap();
        }
        text.push_str("    }\n");
    }
    text + "```\n"
}

fn reference(database: &Database) -> String {
    let tables = rows(database, TABLES, "");
    let mut text = format!(
        "# The schema\n\nWritten from a migrated database by `make generate`.\n\n{}\n\
         `dgm_performance_metrics` is partitioned by `measurement_timestamp`, a partition a month in UTC \
         (`dgm_performance_metrics_YYYY_MM`), made\nby `create_monthly_partition` and by nothing else; there is no \
         default partition (docs/adr/0002).\n",
        diagram(database, &tables)
    );
    for table in &tables {
        writeln!(text, "\n## {}\n", table[0]).unwrap();
        if !table[1].is_empty() {
            writeln!(text, "{}.\n", table[1]).unwrap();
        }
        text.push_str("| column | type | null | default | meaning |\n|---|---|---|---|---|\n");
        for column in rows(database, COLUMNS, &table[0]) {
            let default = if column[3].is_empty() { String::new() } else { format!("`{}`", column[3]) };
            writeln!(text, "| `{}` | {} | {} | {default} | {} |", column[0], column[1], column[2], column[4]).unwrap();
        }
        for (title, query) in [("Constraints", CONSTRAINTS), ("Indexes", INDEXES), ("Triggers", TRIGGERS)] {
            let found = rows(database, query, &table[0]);
            if !found.is_empty() {
                writeln!(text, "\n{title}:\n").unwrap();
            }
            for row in found {
                writeln!(text, "- `{}`: `{}`", row[0], row[1]).unwrap();
            }
        }
    }
    text.push_str("\n## Functions\n\n");
    for row in rows(database, FUNCTIONS, "") {
        writeln!(text, "- `{}({})` returns `{}`", row[0], row[1], row[2]).unwrap();
    }
    text
}

#[test]
fn the_reference_is_what_the_database_says() {
    let database = Database::migrated();
    for (path, fresh) in
        [("docs/SCHEMA.md", reference(&database)), ("src/store/integrity/objects.txt", database.sql(OBJECTS) + "\n")]
    {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os("DGM_GENERATE").is_some() {
            std::fs::write(&file, &fresh).unwrap();
        }
        assert!(std::fs::read_to_string(&file).unwrap_or_default() == fresh, "{path} is old: run `make generate`");
    }
}
