"""Print what TensorBoard's own readers find in a folder of event files, as JSON.

    python read_events.py DIR
"""

import json
import sys

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing import plugin_event_accumulator
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


def text(value):
    if isinstance(value, list):
        return [text(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


found = {"plugins": {}, "tensors": {}}
for plugin in sorted(served.ActivePlugins()):
    found["plugins"][plugin] = sorted(served.PluginTagToContent(plugin))
    for tag in found["plugins"][plugin]:
        rows = tensors(tag)
        found["tensors"][tag] = [{**row, "value": text(row["value"])} for row in rows]
found["scalars"] = {
    tag: [[event.step, event.value] for event in plain.Scalars(tag)]
    for tag in plain.Tags()["scalars"]
}
json.dump(found, sys.stdout)
