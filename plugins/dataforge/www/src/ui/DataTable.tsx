import { Box, Table } from "@chakra-ui/react";
import type { Key, ReactNode } from "react";
import { strings } from "../strings";

export interface Column<Row> {
  name: string;
  header: ReactNode;
  cell: (row: Row) => ReactNode;
  /** Numbers stand at the right. */
  numeric?: boolean;
  width?: string;
}

interface DataTableProps<Row> {
  /** What the table shows, for screen readers. */
  label: string;
  columns: Column<Row>[];
  rows: Row[];
  keyOf: (row: Row, index: number) => Key;
  /** What stands in place of no rows. */
  empty?: ReactNode;
  /** A line below a row, over its whole width; null for none. */
  below?: (row: Row) => ReactNode;
  maxH?: string;
}

/** A table that scrolls within itself where it is too wide or too long. */
export function DataTable<Row>({ label, columns, rows, keyOf, empty, below, maxH }: DataTableProps<Row>) {
  if (rows.length === 0) return <Box color="fg.muted">{empty ?? strings.common.noData}</Box>;
  return (
    <Table.ScrollArea aria-label={label} borderRadius="md" borderWidth={1} maxH={maxH} role="region" tabIndex={0}>
      <Table.Root aria-label={label} size="sm" stickyHeader={maxH !== undefined}>
        <Table.Header>
          <Table.Row bg="bg.muted">
            {columns.map((one) => (
              <Table.ColumnHeader key={one.name} textAlign={one.numeric ? "end" : "start"} w={one.width}>
                {one.header}
              </Table.ColumnHeader>
            ))}
          </Table.Row>
        </Table.Header>
        <Table.Body>
          {rows.map((row, index) => (
            <Rows below={below?.(row)} columns={columns} key={keyOf(row, index)} row={row} />
          ))}
        </Table.Body>
      </Table.Root>
    </Table.ScrollArea>
  );
}

function Rows<Row>({ row, columns, below }: { row: Row; columns: Column<Row>[]; below: ReactNode }) {
  return (
    <>
      <Table.Row>
        {columns.map((one) => (
          <Table.Cell key={one.name} textAlign={one.numeric ? "end" : "start"} verticalAlign="top">
            {one.cell(row)}
          </Table.Cell>
        ))}
      </Table.Row>
      {below && (
        <Table.Row>
          <Table.Cell bg="bg.subtle" colSpan={columns.length}>
            {below}
          </Table.Cell>
        </Table.Row>
      )}
    </>
  );
}
