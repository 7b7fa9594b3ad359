// Posts, new posts as server-sent events, upload with progress, download. What fails says so.
const element = (id) => document.getElementById(id);

function card(post) {
  const article = document.createElement("article");
  article.className = "card post new";
  article.dataset.number = post.number;
  const face = Object.assign(new Image(40, 40), {
    className: "face", alt: "", src: `/avatars/${encodeURIComponent(post.author)}.svg`,
  });
  const names = document.createElement("div");
  const author = document.createElement("strong");
  author.textContent = post.author;
  const place = document.createElement("small");
  const option = document.querySelector(`#community option[value="${CSS.escape(post.community)}"]`);
  place.textContent = `${option?.textContent ?? post.community} · just now`;
  names.append(author, place);
  const header = document.createElement("header");
  header.append(face, names);
  const text = document.createElement("p");
  text.textContent = post.text;
  article.append(header, text);
  return article;
}

function add(post) {
  const posts = element("posts");
  const here = posts.dataset.community;
  if (here && here !== post.community) return;
  if (posts.querySelector(`[data-number="${Number(post.number)}"]`)) return;
  posts.prepend(card(post));
}

async function trouble(answer) {
  if (answer.status === 401) return "You are logged out: reload the page.";
  if (answer.status === 503) return "Busy at the moment: please try again.";
  return (await answer.text()).slice(0, 200);
}

element("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const status = element("post-status");
  status.textContent = "";
  try {
    const answer = await fetch("/api/posts", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text: element("text").value, community: element("community").value }),
    });
    if (answer.ok) {
      add(await answer.json());
      element("text").value = "";
    } else {
      status.textContent = await trouble(answer);
    }
  } catch {
    status.textContent = "The line broke; your text is still here.";
  }
});

element("file").addEventListener("change", () => {
  element("file-name").textContent = element("file").files[0]?.name ?? "Choose a file to share";
});

element("upload").addEventListener("submit", (event) => {
  event.preventDefault();
  const status = element("upload-status");
  const bar = element("progress");
  const request = new XMLHttpRequest(); // fetch cannot tell how much was sent
  request.open("POST", "/upload");
  request.responseType = "text";
  request.upload.onprogress = (sent) => {
    if (sent.lengthComputable) bar.value = sent.loaded / sent.total;
  };
  request.onload = () => {
    bar.hidden = true;
    if (request.status === 200) {
      const file = JSON.parse(request.responseText);
      status.textContent = `${file.size.toLocaleString()} bytes arrived, sha256 ${file.sha256.slice(0, 12)}…`;
      status.dataset.sha256 = file.sha256;
    } else {
      status.textContent = request.status === 401 ? "You are logged out: reload the page." : `Refused (${request.status}).`;
    }
  };
  request.onerror = () => { bar.hidden = true; status.textContent = "The line broke."; };
  bar.hidden = false;
  bar.value = 0;
  status.textContent = "Uploading…";
  request.send(new FormData(event.target));
});

for (const button of document.querySelectorAll("[data-bytes]")) {
  button.addEventListener("click", async () => {
    const status = element("download-status");
    const began = performance.now();
    try {
      const answer = await fetch(`/download?bytes=${button.dataset.bytes}`);
      if (!answer.ok) { status.textContent = await trouble(answer); return; }
      const bytes = (await answer.arrayBuffer()).byteLength;
      const seconds = (performance.now() - began) / 1000;
      status.textContent = `${(bytes / 1048576 / seconds).toFixed(1)} MiB/s`;
    } catch {
      status.textContent = "The line broke.";
    }
  });
}

const events = new EventSource("/events");
events.addEventListener("hello", () => { element("events-state").textContent = "listening"; });
events.addEventListener("post", (event) => add(JSON.parse(event.data)));
events.onerror = () => { element("events-state").textContent = "reconnecting"; };

fetch("/api/whoami").then((answer) => answer.json()).then((me) => {
  element("who").title = `${me.user} (${me.population}): ${me.groups.join(", ")}`;
}).catch(() => { /* the name on the page stays */ });
