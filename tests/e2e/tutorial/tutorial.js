// Shows each event of one connection, once, in its order. ?who= names the visitor.
const who = new URLSearchParams(location.search).get('who') ?? 'visitor';
const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
const socket = new WebSocket(`${scheme}//${location.host}/tutorial/${encodeURIComponent(who)}/`);

function show(text) {
  const item = document.createElement('li');
  item.textContent = text;
  document.getElementById('events').append(item);
}

function onClick(id, act) {
  document.getElementById(id).addEventListener('click', act);
}

socket.addEventListener('open', () => show('open'));
socket.addEventListener('message', ({ data }) => show(`message: ${data}`));
socket.addEventListener('error', () => show('error'));
socket.addEventListener('close', ({ code, reason, wasClean }) => {
  show(`close: ${code}${reason && ` ${reason}`}${wasClean ? '' : ', not clean'}`);
});

onClick('send', () => socket.send(document.getElementById('text').value));
onClick('ask', () => socket.send('close'));
onClick('stop', () => socket.send('stop'));
onClick('close', () => socket.close(1000, 'enough'));
