// The page's way to ask: each window has a session of its own, and its messages arrive in their order, but that nothing
// waits for what is slow.
import { mount } from "./explorer.js";

async function post(path, message) {
  let response;
  try {
    response = await fetch(path, { method: "POST", body: JSON.stringify(message) });
  } catch {
    throw new Error("the program that shows this page has ended; start it again");
  }
  if (response.status === 403) throw new Error("this page is not of the program that runs now; open the address that it printed");
  const answer = await response.json();
  if (answer?.error) throw new Error(answer.error);
  return answer;
}

const SLOW = ["torch", "play", "readers"]; // as the session has it
const session = post("new", {});
let before = session;

function ask(message) {
  if (SLOW.includes(message.ask)) return session.then((made) => post(`ask/${made.session}`, message));
  const answer = before.catch(() => {}).then(async () => post(`ask/${(await session).session}`, message));
  before = answer;
  return answer;
}

mount(document.getElementById("explorer"), ask, { mode: "page" });
