"""The guide's scenarios against a real Envoy: starts the parts, makes each call, compares each answer.

binaries -> calls and answers on stdout, exit status 0 only if all are right

Invariant: every process started here is ended here, by pid, whatever happens.
Invariant: a call is made once; only a change of manifests is waited for, by asking until it shows.
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

GUIDE = pathlib.Path(__file__).resolve().parent.parent / "samples" / "guide"
PROTOS = GUIDE.parent / "echo" / "proto"
HOST = "grpc.example.com"
PODS = {"grpc-echo": "grpc-echo-v1-demo", "grpc-echo-v2": "grpc-echo-v2-demo"}
V1, V2 = PODS["grpc-echo"], PODS["grpc-echo-v2"]
START_SECONDS = 30
CHANGE_SECONDS = 15
DEFAULT_CALLS = 50
SHIFT_CALLS = 20
# For calls that reflection does not help: nothing routes it, or asking it would cost a call.
ECHO = ("-import-path", str(PROTOS), "-proto", "echo.proto", "echo.Echo/Echo")

LIST = "echo.Echo grpc.reflection.v1alpha.ServerReflection"
SERVICE = """echo.Echo is a service:
service Echo {
  rpc Echo (.echo.EchoRequest ) returns (.echo.EchoResponse );
  rpc EchoV2 (.echo.EchoRequest ) returns (.echo.EchoResponse );
}"""
MESSAGE = """echo.EchoRequest is a message:
message EchoRequest {
  string text = 1;
}"""


class Failure(Exception):
    """Something that the guide says did not happen."""


class Interrupted(BaseException):
    """SIGTERM: unwinds through every `finally`, as ctrl-C does."""


def interrupt(number, frame):
    raise Interrupted


def squeezed(text):
    return "".join(text.split())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- processes ---------------------------------------------------------------


class Process:
    """A child, its output in a log file, ended when the block is left."""

    def __init__(self, name, command, logs, env=None):
        self.name = name
        self.log = logs / f"{name}.log"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                # Ctrl-C in a terminal reaches the whole group; ending is ours to order.
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            print(f"{self.name} (pid {self.child.pid}) ignores SIGTERM, killed", file=sys.stderr)
            self.child.kill()
            self.child.wait()

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def until(self, condition, what, seconds=START_SECONDS):
        """What `condition` returns once it is true; fails at once if the process ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            result = condition()
            if result:
                return result
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended with {self.child.returncode}:\n{self.tail()}")
            time.sleep(0.05)
        raise Failure(f"{self.name}: no {what} within {seconds} s:\n{self.tail()}")


def echo_address(process):
    for line in process.log.read_text().splitlines():
        if line.startswith("listening on "):
            return line.removeprefix("listening on ")
    return None


def answer_of(done):
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return {}


def answers_ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


# --- calls -------------------------------------------------------------------


class Client:
    """grpcurl against the gateway."""

    def __init__(self, grpcurl, port):
        self.grpcurl = grpcurl
        self.target = f"127.0.0.1:{port}"

    def command(self, *arguments, text=None, trust=("-insecure",)):
        data = ("-d", json.dumps({"text": text})) if text is not None else ()
        *flags, verb = split_verb(arguments)
        return [self.grpcurl, *trust, "-max-time", "5", "-authority", HOST, *flags, *data, self.target, *verb]

    def run(self, *arguments, **options):
        return subprocess.run(self.command(*arguments, **options), capture_output=True, text=True, check=False)

    def source(self, *arguments, **options):
        """The instance that answered, or None after a failed call."""
        done = self.run(*arguments, **options)
        return answer_of(done).get("source") if done.returncode == 0 else None


def split_verb(arguments):
    """grpcurl wants flags, then the address, then what to do, which is the last argument (two of `describe X`)."""
    words = list(arguments)
    start = words.index("describe") if "describe" in words else len(words) - 1
    return [*words[:start], words[start:]]


def shown(command):
    words = (f"'{word}'" if any(c in word for c in ' {"') else word for word in command[1:])
    return "$ grpcurl " + " ".join(words)


class Checks:
    """Prints each call with its answer and counts the wrong ones."""

    def __init__(self, client):
        self.client = client
        self.wrong = []

    def verdict(self, right, expected):
        print(f"  {'ok' if right else 'WRONG'}: {expected}\n", flush=True)
        if not right:
            self.wrong.append(expected)

    def call(self, expected, judge, *arguments, **options):
        done = self.client.run(*arguments, **options)
        print(shown(self.client.command(*arguments, **options)))
        print((done.stdout + done.stderr).rstrip())
        self.verdict(judge(done), expected)

    def echo(self, pod, text, *arguments, **options):
        def judge(done):
            return done.returncode == 0 and answer_of(done) == {"text": text, "source": pod}

        self.call(f"answered by {pod}", judge, *arguments, text=text, **options)

    def printed(self, text, *arguments):
        def judge(done):
            return done.returncode == 0 and squeezed(done.stdout) == squeezed(text)

        self.call("the guide's text", judge, *arguments)

    def refused(self, words, *arguments, **options):
        def judge(done):
            return done.returncode != 0 and all(word in done.stderr for word in words)

        self.call("refused with " + ", ".join(words), judge, *arguments, **options)


# --- one form of the manifests -----------------------------------------------


class Form:
    """Sluice with one form of the manifests, and what a user does to them."""

    def __init__(self, name, title, directory, sluice, client):
        self.name = name
        self.title = title
        self.directory = directory
        self.sluice = sluice
        self.client = client

    def write(self, name, text):
        """Appears whole or not at all: the watcher must never read half a file."""
        fresh = self.directory / f".{name}.new"
        fresh.write_text(text)
        fresh.rename(self.directory / name)

    def apply(self, sample):
        print(f"# {self.title}: apply {sample.relative_to(GUIDE.parent.parent)}", flush=True)
        self.write("scenario.yaml", sample.read_text())

    def scenario(self, directory):
        self.apply(GUIDE / directory / f"{self.name}.yaml")

    def wait(self, condition, what):
        self.sluice.until(condition, what, CHANGE_SECONDS)


def scenario_1(form, checks):
    form.scenario("01-hostname")
    form.wait(lambda: form.client.source(*ECHO, text="ready") == V1, "answer from v1")
    checks.echo(V1, "hello world", "echo.Echo/Echo")


def scenario_1_verified(form, checks, certificate):
    checks.echo(V1, "hello trust", "echo.Echo/Echo", trust=("-cacert", str(certificate)))


def scenario_2(form, checks):
    form.write("v2.yaml", (GUIDE / "00-application/v2.yaml").read_text())
    form.scenario("02-content")
    canary = ("-H", "env: canary", "echo.Echo/Echo")
    form.wait(lambda: form.client.source(*canary, text="ready") == V2, "answer from v2")
    checks.echo(V2, "hello canary", *canary)
    checks.echo(V2, "hello method", "echo.Echo/EchoV2")
    checks.echo(V1, "hello default", "echo.Echo/Echo")
    sources = [form.client.source("echo.Echo/Echo", text="again") for _ in range(DEFAULT_CALLS)]
    checks.verdict(sources == [V1] * DEFAULT_CALLS, f"{sources.count(V1)} of {DEFAULT_CALLS} default calls from {V1}")


def scenario_3(form, checks):
    form.scenario("03-reflection")
    # Nothing that a caller sees tells scenario 3 from 2: its last rule forwards reflection too.
    checks.printed(LIST, "list")
    checks.printed(SERVICE, "describe", "echo.Echo")
    checks.printed(MESSAGE, "describe", "echo.EchoRequest")


def unmatched(form, checks):
    suffix = "-grpcservice" if form.name == "grpcservice" else ""
    form.apply(GUIDE / f"pitfalls/no-default-rule{suffix}.yaml")
    form.wait(lambda: form.client.run(*ECHO, text="ready").returncode != 0, "refusal")
    checks.refused(("Unimplemented", HOST, "echo.Echo", "Echo"), *ECHO, text="nobody")


# --- weights -----------------------------------------------------------------


class Callers:
    """Two loops of default calls; every answer counts."""

    def __init__(self, client):
        self.client = client
        self.sources = []
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.loop) for _ in range(2)]

    def loop(self):
        while not self.done.is_set():
            self.sources.append(self.client.source(*ECHO, text="shift"))

    def settled(self, wanted, before):
        """Whether the newest calls, all made since call number `before`, reached all of `wanted` and nothing else."""
        since = self.sources[before:]
        return len(since) >= SHIFT_CALLS and set(since[-SHIFT_CALLS:]) - {None} == wanted

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def weighted(form, stable, canary):
    """The sample with its two weights, first v1's, replaced."""
    weights = iter((stable, canary))
    text = (GUIDE / "05-weights" / f"{form.name}.yaml").read_text()
    return re.sub(r"weight: \d+", lambda _: f"weight: {next(weights)}", text)


def weight_shift(form, checks):
    """100/0, 50/50, 0/100 under load: each step is over once the calls show it."""
    print(f"# {form.title}: shift the weights of {HOST} from 100/0 over 50/50 to 0/100 while calls run", flush=True)
    form.write("scenario.yaml", weighted(form, 100, 0))
    form.wait(lambda: form.client.source("echo.Echo/Echo", text="ready") == V1, "answer by weight")
    with Callers(form.client) as callers:
        for stable, canary, wanted in ((100, 0, {V1}), (50, 50, {V1, V2}), (0, 100, {V2})):
            before = len(callers.sources)
            form.write("scenario.yaml", weighted(form, stable, canary))
            form.wait(lambda wanted=wanted, before=before: callers.settled(wanted, before), "shift")
            print(f"  {stable}/{canary}: last {SHIFT_CALLS} calls: {tally(callers.sources[-SHIFT_CALLS:])}")
    failed = callers.sources.count(None)
    checks.verdict(failed == 0, f"{failed} of {len(callers.sources)} calls failed during the shift")


def tally(sources):
    return ", ".join(f"{sources.count(source)} {source or 'failed'}" for source in sorted(set(sources), key=str))


# --- the demo ----------------------------------------------------------------


class Demo:
    """The parts that both forms share: binaries, echo servers, ports, a directory for everything."""

    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.endpoints = {}
        self.https, self.admin = free_port(), free_port()
        self.client = Client(options.grpcurl, self.https)
        self.checks = Checks(self.client)
        self.secret = subprocess.run([GUIDE / "certificate"], capture_output=True, text=True, check=True).stdout

    def start_echoes(self, stack):
        for service, pod in PODS.items():
            command = [self.options.echo, "--address", "127.0.0.1", "--port", "0"]
            process = stack.enter_context(Process(pod, command, self.work, {"POD_NAME": pod}))
            self.endpoints[service] = process.until(lambda process=process: echo_address(process), "address")

    def start_sluice(self, directory):
        command = [self.options.sluice, "local", directory, "--envoy", self.options.envoy]
        command += ["--address", "127.0.0.1", "--port-map", f"443={self.https}", "--admin", f"127.0.0.1:{self.admin}"]
        for service, address in self.endpoints.items():
            command += ["--endpoints", f"default/{service}={address}"]
        # A state of its own: the demo must neither find nor leave anything.
        return Process("sluice", command, self.work, {"XDG_STATE_HOME": str(directory.parent / "state")})

    def authority(self, form):
        """What `-cacert` trusts: the guide's certificate itself, or the authority that Sluice publishes."""
        path = self.work / f"{form.name}.crt"
        if form.name == "gateway-api":
            encoded = next(line.split()[1] for line in self.secret.splitlines() if "tls.crt:" in line)
            path.write_bytes(base64.b64decode(encoded))
            return path
        command = [self.options.sluice, "get", "configmap", "echo-ca", "-o", "json", "--admin", f"127.0.0.1:{self.admin}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"no ConfigMap echo-ca: {done.stderr}")
        path.write_text(json.loads(done.stdout)["data"]["ca.crt"])
        return path

    def run(self, name, title):
        """All scenarios in one form; returns after the last, or serves until interrupted."""
        print(f"\n=== {title} ===\n", flush=True)
        directory = self.work / name / "manifests"
        directory.mkdir(parents=True)
        shutil.copy(GUIDE / "00-application/v1.yaml", directory)
        if name == "gateway-api":
            (directory / "secret.yaml").write_text(self.secret)
        with self.start_sluice(directory) as sluice:
            sluice.until(lambda: answers_ready(self.admin), "readiness")
            form = Form(name, title, directory, sluice, self.client)
            self.scenarios(form)
            if self.options.serve and name == "grpcservice":
                self.serve(form)

    def scenarios(self, form):
        scenario_1(form, self.checks)
        scenario_1_verified(form, self.checks, self.authority(form))
        scenario_2(form, self.checks)
        scenario_3(form, self.checks)
        unmatched(form, self.checks)
        weight_shift(form, self.checks)

    def serve(self, form):
        scenario_3(form, self.checks)
        print(f"serving scenario 3; manifests: {form.directory}; status: http://127.0.0.1:{self.admin}/status")
        print(shown(self.client.command("echo.Echo/Echo", text="hello world")), flush=True)
        try:
            form.sluice.child.wait()
        except (KeyboardInterrupt, Interrupted):
            return
        raise Failure(f"sluice ended:\n{form.sluice.tail()}")


FORMS = {"gateway-api": "Gateway API manifests, as in the guide", "grpcservice": "one GrpcService"}


def demonstrate(options, work):
    demo = Demo(options, work)
    broken = []
    with contextlib.ExitStack() as stack:
        demo.start_echoes(stack)
        for name, title in FORMS.items():
            try:
                demo.run(name, title)
            except Failure as failure:
                print(f"  WRONG: {failure}\n", flush=True)
                broken.append(title)
    return demo.checks.wrong + broken


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for binary in ("sluice", "echo", "envoy", "grpcurl"):
        parser.add_argument(f"--{binary}", required=True, type=pathlib.Path)
    parser.add_argument("--serve", action="store_true", help="keep scenario 3 running at the end")
    return parser.parse_args()


def main():
    signal.signal(signal.SIGTERM, interrupt)
    options = arguments()
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="sluice-demo-") as work:
            wrong = demonstrate(options, pathlib.Path(work))
    except (KeyboardInterrupt, Interrupted):
        return 130
    for what in wrong:
        print(f"wrong: {what}", file=sys.stderr)
    print(f"{'all as the guide says' if not wrong else f'{len(wrong)} wrong'}, {time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
