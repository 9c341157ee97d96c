"""Writes an MCAP file as several, as recorders do: by time, or a file for each topic.

    split_mcap.py IN OUT_FOLDER time N      N files that follow each other
    split_mcap.py IN OUT_FOLDER topic       a file for each topic
"""

import sys
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import Writer


class Part:
    """A file that is being written; it has the channels of what is written into it only."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.writer = Writer(self.file)
        self.writer.start()
        self.schemas, self.channels = {}, {}

    def add(self, schema, channel, message):
        if channel.id not in self.channels:
            if schema.id not in self.schemas:
                self.schemas[schema.id] = self.writer.register_schema(schema.name, schema.encoding, schema.data)
            self.channels[channel.id] = self.writer.register_channel(
                channel.topic, channel.message_encoding, self.schemas[schema.id], channel.metadata
            )
        self.writer.add_message(self.channels[channel.id], message.log_time, message.data, message.publish_time, message.sequence)

    def finish(self):
        self.writer.finish()
        self.file.close()


def main():
    source, folder, by = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    folder.mkdir(parents=True)
    parts = {}
    with open(source, "rb") as file:
        reader = make_reader(file)
        statistics = reader.get_summary().statistics
        first, span = statistics.message_start_time, statistics.message_end_time - statistics.message_start_time + 1
        for schema, channel, message in reader.iter_messages():
            if by == "topic":
                name = channel.topic.strip("/").replace("/", "_")
            else:
                name = f"drive_{(message.log_time - first) * int(sys.argv[4]) // span}"
            if name not in parts:
                parts[name] = Part(folder / f"{name}.mcap")
            parts[name].add(schema, channel, message)
    for part in parts.values():
        part.finish()
    print(len(parts))


main()
