"""Coding agents, unchanged, through `tollgate demo`: a plain turn and a turn with a tool each.

    cargo build && python3 tests/sdk/agents.py [claude codex gemini opencode]

Fetches the agents once with npm into target/agents (1 GB), starts a demo of its own on free ports, and fails unless each
turn ends well, each request has its entry, a tool's result has come back to the provider, and the ledger's sum is that of
the provider's own bill. No key, no network but npm's registry.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("TOLLGATE", os.path.join(ROOT, "target/debug/tollgate"))
FOLDER = os.path.join(ROOT, "target/agents")
PACKAGES = [
    "@anthropic-ai/claude-code@2.1.197",
    "@openai/codex@0.169.0",
    "@google/gemini-cli@0.61.0",
    "opencode-ai@1.18.33",
]
PROMPT = "Look around in this folder and say what is there."
TURN_S = 180

# What an agent needs besides its base URL: its command, files in its home, and a tool of its own.
AGENTS = {
    "claude": {
        "command": ["claude", "-p", PROMPT, "--model", "claude-sonnet-4-6", "--allowedTools", "Bash,Glob,Read"],
        "tool": "Bash",
    },
    "codex": {
        "command": ["codex", "exec", "--skip-git-repo-check", "-m", "gpt-5-mini", "-c", 'openai_base_url="{base}/v1"', PROMPT],
        "files": {".codex/auth.json": '{"OPENAI_API_KEY": "demo"}'},
        "tool": None,
    },
    "gemini": {
        "command": ["gemini", "-m", "gemini-2.5-flash", "--skip-trust", "--yolo", "-p", PROMPT],
        "files": {".gemini/settings.json": '{"security": {"auth": {"selectedType": "gemini-api-key"}}}'},
        "tool": "list_directory",
    },
    "opencode": {
        "command": ["opencode", "run", "--model", "anthropic/claude-sonnet-4-6", PROMPT],
        "files": {
            ".config/opencode/opencode.json": '{"provider": {"anthropic": {"options": {"baseURL": "{base}/v1", "apiKey": "demo"}}},'
            ' "autoupdate": false, "share": "disabled"}'
        },
        "tool": "bash",
    },
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


class Demo:
    """A `tollgate demo` of our own, with a store in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        listen, admin = free_port(), free_port()
        self.base = f"http://127.0.0.1:{listen}"
        self.talk = open(os.path.join(folder, "demo.log"), "w+")
        command = [PROGRAM, "demo", "--listen", f"127.0.0.1:{listen}", "--admin-listen", f"127.0.0.1:{admin}"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=self.talk, stderr=subprocess.STDOUT)
        until = time.monotonic() + 30
        while True:
            self.talk.seek(0)
            found = re.search(r"(http://[0-9.:]+)/_mock/bill", self.talk.read())
            if found:
                self.mock = found.group(1)
                return
            if self.process.poll() is not None or time.monotonic() > until:
                self.talk.seek(0)
                sys.exit(f"the demo did not start:\n{self.talk.read()}")
            time.sleep(0.05)

    def total(self):
        command = [PROGRAM, "report", "--format", "json", "--set", "store.path=data/demo"]
        said = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout
        return json.loads(said)["total"]

    def bill(self):
        return ask(f"{self.mock}/_mock/bill?last=1000")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


def environment(agent, home, base):
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM") if name in os.environ}
    for path, text in AGENTS[agent].get("files", {}).items():
        path = os.path.join(home, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text.replace("{base}", base))
    return kept | {
        "HOME": home,
        "CI": "1",
        "NO_PROXY": "*",
        "no_proxy": "*",
        "ANTHROPIC_BASE_URL": base,
        "ANTHROPIC_API_KEY": "demo",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",
        "OPENAI_API_KEY": "demo",
        "GOOGLE_GEMINI_BASE_URL": base,
        "GEMINI_API_KEY": "demo",
    }


def turn(demo, agent, tool, folder):
    """One turn; what is wrong with it, or nothing."""
    ask(f"{demo.mock}/_mock/config", {"tool": tool})
    before = demo.total()["requests"]
    home, work = os.path.join(folder, "home"), os.path.join(folder, "work")
    os.makedirs(work, exist_ok=True)
    with open(os.path.join(work, "notes.txt"), "w") as file:
        file.write("Nothing of interest.\n")
    command = [part.replace("{base}", demo.base) for part in AGENTS[agent]["command"]]
    command[0] = os.path.join(FOLDER, "node_modules/.bin", command[0])
    try:
        done = subprocess.run(
            command, cwd=work, env=environment(agent, home, demo.base), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=TURN_S,
        )
    except subprocess.TimeoutExpired as late:
        return f"no end after {TURN_S} s: {late.stdout} {late.stderr}"
    said = f"{done.stdout}\n{done.stderr}"
    if done.returncode != 0:
        return f"exit code {done.returncode}: {said}"
    if not done.stdout.strip():
        return f"it said nothing: {said}"
    asked = demo.total()["requests"] - before
    results = tool_results(ask(f"{demo.mock}/_mock/requests?last={asked}"))
    if tool == "none" and results:
        return f"a tool was called where none should have been: {said}"
    if tool != "none" and not results:
        return f"no tool's result came back: {said}"
    print(f"ok {agent}, {'a plain turn' if tool == 'none' else 'a turn with a tool'}: {asked} requests", flush=True)
    return None


def tool_results(requests):
    text = json.dumps(requests)
    names = ("tool_result", "function_call_output", "custom_tool_call_output", "functionResponse", "local_shell_call_output")
    return sum(text.count(f'"{name}"') + text.count(f'\\"{name}\\"') for name in names)


def main():
    wanted = sys.argv[1:] or list(AGENTS)
    if not os.path.isdir(os.path.join(FOLDER, "node_modules")):
        os.makedirs(FOLDER, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", FOLDER, *PACKAGES], check=True)
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(folder)
        try:
            for agent in wanted:
                for tool in ("none", AGENTS[agent]["tool"]):
                    why = turn(demo, agent, tool, os.path.join(folder, agent))
                    if why:
                        wrong.append(f"{agent}, tool {tool}: {why}")
            total, bill = demo.total(), demo.bill()
            print(f"ledger: {total['requests']} requests, {total['spend_usd']} USD; bill: {bill['total_usd']}")
            if total["spend_usd"] != bill["total_usd"]:
                wrong.append(f"the ledger says {total}, the provider bills {bill['models']}")
        finally:
            demo.stop()
    for line in wrong:
        print(f"FAILED {line}", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
