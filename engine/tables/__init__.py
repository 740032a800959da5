"""Tables in and out: files, streams and data frames. DuckDB and Arrow do the reading and writing.

inputs       what an input names, and plain copies of files that DuckDB cannot read as they are
read         Parquet, CSV (csv_files) and JSON (json_files) as streams of Arrow batches
write        one file, a folder of Parquet parts, or a stream
values       columns as text, and SQL for what CSV and JSON can hold
frames       data frames of Python
"""

from leeroo.engine.tables.frames import from_frame, like_frame
from leeroo.engine.tables.inputs import Layout, input_paths
from leeroo.engine.tables.outputs import Keep
from leeroo.engine.tables.read import open_input
from leeroo.engine.tables.write import check_output, write_table

__all__ = ["Keep", "Layout", "check_output", "from_frame", "input_paths", "like_frame", "open_input", "write_table"]
