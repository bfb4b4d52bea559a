"""The messages of the Open Inference Protocol over gRPC, written and read by Google's own library."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# The protocol's definition: name -> fields (number, name, type, repeated).
BOOL, INT64, UINT64, DOUBLE, STRING, BYTES, FLOAT, INT32, UINT32 = 8, 3, 4, 1, 9, 12, 2, 5, 13
MESSAGES = {
    "InferParameter": [(1, "bool_param", BOOL, 0), (2, "int64_param", INT64, 0),
                       (3, "string_param", STRING, 0), (4, "double_param", DOUBLE, 0),
                       (5, "uint64_param", UINT64, 0)],
    "Parameter": [(1, "key", STRING, 0), (2, "value", "InferParameter", 0)],
    "InferTensorContents": [
        (1, "bool_contents", BOOL, 1), (2, "int_contents", INT32, 1), (3, "int64_contents", INT64, 1),
        (4, "uint_contents", UINT32, 1), (5, "uint64_contents", UINT64, 1), (6, "fp32_contents", FLOAT, 1),
        (7, "fp64_contents", DOUBLE, 1), (8, "bytes_contents", BYTES, 1)],
    "Tensor": [(1, "name", STRING, 0), (2, "datatype", STRING, 0), (3, "shape", INT64, 1),
               (4, "parameters", "Parameter", 1), (5, "contents", "InferTensorContents", 0)],
    "Output": [(1, "name", STRING, 0)],
    "ModelInferRequest": [
        (1, "model_name", STRING, 0), (2, "model_version", STRING, 0), (3, "id", STRING, 0),
        (4, "parameters", "Parameter", 1), (5, "inputs", "Tensor", 1), (6, "outputs", "Output", 1),
        (7, "raw_input_contents", BYTES, 1)],
    "ModelInferResponse": [
        (1, "model_name", STRING, 0), (2, "model_version", STRING, 0), (3, "id", STRING, 0),
        (5, "outputs", "Tensor", 1), (6, "raw_output_contents", BYTES, 1)],
    "ModelStreamInferResponse": [
        (1, "error_message", STRING, 0), (2, "infer_response", "ModelInferResponse", 0)],
    "Named": [(1, "name", STRING, 0), (2, "version", STRING, 0)],
    "Flag": [(1, "ready", BOOL, 0)],
    "ModelMetadataResponse": [(1, "name", STRING, 0), (2, "versions", STRING, 1), (3, "platform", STRING, 0),
                              (4, "inputs", "Tensor", 1)],
}  # fmt: skip


def build():
    file = descriptor_pb2.FileDescriptorProto(name="spoken.proto", package="spoken", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            added.type = 11 if isinstance(kind, str) else kind
            if isinstance(kind, str):
                added.type_name = f".spoken.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"spoken.{name}"))
        for name in MESSAGES
    }


SPOKEN = build()


def request_of(*inputs, raw=(), **rest):
    return SPOKEN["ModelInferRequest"](
        model_name=rest.pop("model_name", "model"), inputs=inputs, raw_input_contents=raw, **rest
    )
