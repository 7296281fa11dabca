"""Print what TensorBoard's own readers find in a folder of event files, as JSON.

    python read_events.py DIR
"""

import json
import struct
import sys

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from google.protobuf import json_format
from tensorboard.util import tensor_util

directory = sys.argv[1]

# What `tensorboard --logdir` loads: every value as a tensor of its plugin.
served = plugin_event_accumulator.EventAccumulator(
    directory, size_guidance={plugin_event_accumulator.TENSORS: 0}
)
served.Reload()
# What scripts use.
plain = event_accumulator.EventAccumulator(directory, size_guidance={"scalars": 0})
plain.Reload()


def tensors(tag):
    return [
        {
            "time": event.wall_time,
            "step": event.step,
            "value": tensor_util.make_ndarray(event.tensor_proto).tolist(),
        }
        for event in served.Tensors(tag)
    ]


def plain_text(plugin, tag, value):
    """What a plugin shows, as JSON."""
    if plugin == "images":
        width, height, *files = value
        for file in files:
            assert file[:8] == b"\x89PNG\r\n\x1a\n", tag
            assert struct.unpack(">II", file[16:24]) == (int(width), int(height)), tag
        return [int(width), int(height), len(files)]
    if plugin == "custom_scalars":
        return json_format.MessageToDict(layout_pb2.Layout.FromString(value[0]))
    if plugin == "hparams":
        content = served.SummaryMetadata(tag).plugin_data.content
        data = plugin_data_pb2.HParamsPluginData.FromString(content)
        return json_format.MessageToDict(data)
    return text(value)


def text(value):
    if isinstance(value, list):
        return [text(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


found = {"plugins": {}, "tensors": {}}
for plugin in sorted(served.ActivePlugins()):
    found["plugins"][plugin] = sorted(served.PluginTagToContent(plugin))
    for tag in found["plugins"][plugin]:
        rows = tensors(tag)
        found["tensors"][tag] = [
            {**row, "value": plain_text(plugin, tag, row["value"])} for row in rows
        ]
found["scalars"] = {
    tag: [[event.step, event.value] for event in plain.Scalars(tag)]
    for tag in plain.Tags()["scalars"]
}
json.dump(found, sys.stdout)
