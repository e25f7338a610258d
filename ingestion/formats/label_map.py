"""A `label_map.pbtxt` of TensorFlow's Object Detection API -> the names of its classes (pure).

Source: object_detection/protos/string_int_label_map.proto; fields that are not needed are passed over.
"""

from functools import cache
from typing import Any

from ingestion.formats.broken import Broken


def label_map(text: str) -> dict[int, str]:
    """Number -> name of a class; the name to show counts, if there is one.

    Raises:
        Broken: it is no text of protobuf.
    """
    from google.protobuf import text_format

    try:
        items = text_format.Parse(text, _label_map_class()(), allow_unknown_field=True).item
    except text_format.ParseError as error:
        raise Broken(str(error)) from error
    except RecursionError as error:
        raise Broken("it is nested too deep") from error
    names = {one.id: one.display_name or one.name for one in items if one.HasField("id")}
    return {number: name for number, name in names.items() if name and number >= 0}


@cache
def _label_map_class() -> Any:
    """The class of `StringIntLabelMap`, from its definition in code."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    package = "lakesight.label_map"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    item = file.message_type.add(name="Item")
    kinds = {"name": field.TYPE_STRING, "id": field.TYPE_INT32, "display_name": field.TYPE_STRING}
    for number, (name, kind) in enumerate(kinds.items(), start=1):
        item.field.add(name=name, number=number, label=field.LABEL_OPTIONAL, type=kind)
    file.message_type.add(name="Map").field.add(
        name="item", number=1, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE, type_name=f".{package}.Item"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Map"))
