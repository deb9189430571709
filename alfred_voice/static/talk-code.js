// The few lines that do what the page does, with the address that the page was opened at.

/** @typedef {{address: string, hasKey: boolean}} Place */

/** What has to be there first. @param {string} address @param {boolean} hasKey @param {string} trust how a certificate is told */
function needsOf(address, hasKey, trust) {
  const key = hasKey ? "# ALFRED_API_KEY has to hold your key: export ALFRED_API_KEY=...\n" : "";
  const tls = address.startsWith("https:") ? `# a certificate that you made yourself: ${trust}\n` : "";
  return key + tls;
}

/** @param {Place} place */
const PYTHON = ({ address, hasKey }) => `# pip install aiohttp; a 16-bit WAV, mono or stereo, of any rate from 8 to 48 kHz
${needsOf(address, hasKey, "SSL_CERT_FILE=cert.pem")}import asyncio, json, ${hasKey ? "os, " : ""}wave
import aiohttp

async def main():
    async with aiohttp.ClientSession(${hasKey ? 'headers={"Authorization": "Bearer " + os.environ["ALFRED_API_KEY"]}' : ""}) as http:
        async with http.ws_connect("${address.replace(/^http/, "ws")}/ws") as ws:
            with wave.open("speech.wav") as speech:
                rate = speech.getframerate()
                start = {"type": "start", "sample_rate": rate, "channels": speech.getnchannels()}
                await ws.send_json(start)
                while frame := speech.readframes(rate // 50):
                    await ws.send_bytes(frame)
            await ws.send_json({"type": "stop"})
            async for message in ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    event = json.loads(message.data)
                    if event["type"] == "finalTranscription" and event["text"]:
                        print(event["text"])

asyncio.run(main())
`;

/** @param {Place} place */
const JAVASCRIPT = ({ address, hasKey }) => `<button id="talk">Talk</button> <p id="text"></p>
<script type="module">
  import { AlfredVoice } from "${address}/static/alfred-voice.js";

  const voice = new AlfredVoice(${hasKey ? '{ key: prompt("Key") }' : ""});
  const text = document.getElementById("text");
  voice.addEventListener("partialTranscription", ({ detail }) => (text.textContent = detail.text));
  voice.addEventListener("finalTranscription", ({ detail }) => {
    if (detail.text) voice.speak("You said: " + detail.text); // a noise has no words
  });
  addEventListener("pagehide", () => voice.close());
  document.getElementById("talk").onclick = () => voice.listen();
</script>
`;

/** @param {Place} place */
const CURL = ({ address, hasKey }) => {
  const key = hasKey ? ' -H "Authorization: Bearer $ALFRED_API_KEY"' : "";
  return `${needsOf(address, hasKey, "--cacert cert.pem")}# a recording of any format: its text, segment by segment
curl -sN${key} -F audio_file=@speech.wav ${address}/transcribe

# a sentence as sound
curl -s${key} -H "Content-Type: application/json" -d '{"text": "Good morning."}' -o hello.wav ${address}/synthesize

# how the daemon is
curl -s${key} ${address}/pipeline/status
`;
};

/** @type {Record<string, (place: Place) => string>} */
const EXAMPLES = { python: PYTHON, javascript: JAVASCRIPT, curl: CURL };

/**
 * @param {string} language `python`, `javascript` or `curl`
 * @param {Place} place
 */
export function exampleIn(language, place) {
  return EXAMPLES[language](place);
}

/**
 * Tabs as the ARIA authoring practices want them: arrows move between them, and one is in the order of the Tab key.
 * @param {HTMLElement} list
 * @param {(name: string) => void} choose
 */
export function makeTabs(list, choose) {
  /** @type {HTMLElement[]} */
  const tabs = [...list.querySelectorAll("[role=tab]")].filter((tab) => tab instanceof HTMLElement);
  /** @param {HTMLElement} tab */
  const select = (tab) => {
    for (const one of tabs) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
    }
    choose(tab.dataset.name ?? "");
  };
  /** @type {Record<string, number>} */
  const moves = { ArrowRight: 1, ArrowLeft: -1 };
  list.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move) return;
    const next = tabs[(tabs.findIndex((tab) => tab === document.activeElement) + move + tabs.length) % tabs.length];
    next.focus();
    select(next);
    event.preventDefault();
  });
  for (const tab of tabs) tab.addEventListener("click", () => select(tab));
  select(tabs[0]);
}
