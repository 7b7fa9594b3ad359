// A one-time link carries its code behind #, which no server and no log ever sees: it is posted.
const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", location.pathname);
  document.getElementById("code").value = code;
  document.getElementById("link").submit();
}
