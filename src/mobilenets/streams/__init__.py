"""Predictions of any number of images into a file, row by row, so that a killed run can go on."""

from mobilenets.streams.outputs import SUFFIXES, Output, check_suffix, write_json
from mobilenets.streams.records import from_record, to_record
from mobilenets.streams.rows import csv_header, csv_rows, json_line, task_of
from mobilenets.streams.run import Done, predict_to

__all__ = [
    "SUFFIXES",
    "Done",
    "Output",
    "check_suffix",
    "csv_header",
    "csv_rows",
    "from_record",
    "json_line",
    "predict_to",
    "task_of",
    "to_record",
    "write_json",
]
