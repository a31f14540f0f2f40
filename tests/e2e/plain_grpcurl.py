"""
Stands in for grpcurl where there is none: the few arguments that our documents use, with the same meaning and output.

    python plain_grpcurl.py -plaintext -d JSON ADDRESS PACKAGE.SERVICE/METHOD

JSON becomes the method's request by protobuf's own rules, so that a field or a value that does not exist is an error.
"""

import argparse
import sys

import grpc
from evs.v1 import evs_pb2
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

CALL_SECONDS = 60
KNOWN = (evs_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR)
"""Their import is what makes them known."""


def find_method(name: str) -> MethodDescriptor:
    """The method of a name such as ``evs.v1.EquityValuationService/GetEquity``; KeyError if there is none."""
    service, _, method = name.partition("/")
    return descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]


def call(address: str, name: str, text: str) -> None:
    """Print what a method answers to one request; a stream without an end is followed without one."""
    method = find_method(name)
    request = json_format.Parse(text, GetMessageClass(method.input_type)())
    answer_class = GetMessageClass(method.output_type)
    serialize, parse = type(request).SerializeToString, answer_class.FromString
    with grpc.insecure_channel(address) as channel:
        if method.server_streaming:
            for answer in channel.unary_stream(f"/{name}", serialize, parse)(request, wait_for_ready=True):
                show(answer)
        else:
            answered = channel.unary_unary(f"/{name}", serialize, parse)
            show(answered(request, timeout=CALL_SECONDS, wait_for_ready=True))


def show(answer: Message) -> None:
    """Write an answer as JSON, at once."""
    sys.stdout.write(f"{json_format.MessageToJson(answer)}\n")
    sys.stdout.flush()


def main() -> int:
    """Do as the command line says; the exit status."""
    arguments = argparse.ArgumentParser(allow_abbrev=False)
    arguments.add_argument("-plaintext", action="store_true", required=True)
    arguments.add_argument("-d", dest="text", default="{}")
    arguments.add_argument("address")
    arguments.add_argument("name")
    given = arguments.parse_args()
    try:
        call(given.address, given.name, given.text)
    except (KeyError, json_format.ParseError) as error:
        sys.stderr.write(f"{given.name}: {error}\n")
        return 1
    except grpc.RpcError as error:
        sys.stderr.write(f"{given.name}: {error.code()}: {error.details()}\n")
        return 64
    return 0


if __name__ == "__main__":
    sys.exit(main())
