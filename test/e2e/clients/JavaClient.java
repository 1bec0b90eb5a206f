// java.net.http.WebSocket of the JDK.
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Scanner;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CountDownLatch;
import java.util.zip.CRC32;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class JavaClient implements WebSocket.Listener {
	private static final CountDownLatch over = new CountDownLatch(1);
	private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
	private final StringBuilder text = new StringBuilder();
	private boolean paused;
	private Runnable held;
	private volatile Path busy;

	private static synchronized void say(String line) {
		System.out.print(line + "\n");
		System.out.flush();
	}

	private static void message(String kind, byte[] data) {
		CRC32 sum = new CRC32();
		sum.update(data);
		say(String.format("message %s %d %08x", kind, data.length, sum.getValue()));
	}

	// The application's part of a message: on the library's thread, as it is called.
	private void taken(WebSocket ws, String kind, byte[] data) {
		Path file = busy;
		if (file != null) {
			while (Files.exists(file)) nap();
			busy = null;
			say("idle");
		}
		Runnable rest = () -> {
			message(kind, data);
			ws.request(1);
		};
		synchronized (this) {
			if (paused) {
				held = rest;
				return;
			}
		}
		rest.run();
	}

	private static void nap() {
		try {
			Thread.sleep(20);
		} catch (InterruptedException e) {
			throw new IllegalStateException(e);
		}
	}

	@Override
	public void onOpen(WebSocket ws) {
		say("open");
		ws.request(1);
	}

	@Override
	public CompletionStage<?> onText(WebSocket ws, CharSequence data, boolean last) {
		text.append(data);
		if (!last) {
			ws.request(1);
			return null;
		}
		byte[] whole = text.toString().getBytes(StandardCharsets.UTF_8);
		text.setLength(0);
		taken(ws, "text", whole);
		return null;
	}

	@Override
	public CompletionStage<?> onBinary(WebSocket ws, ByteBuffer data, boolean last) {
		byte[] part = new byte[data.remaining()];
		data.get(part);
		bytes.writeBytes(part);
		if (!last) {
			ws.request(1);
			return null;
		}
		byte[] whole = bytes.toByteArray();
		bytes.reset();
		taken(ws, "binary", whole);
		return null;
	}

	@Override
	public CompletionStage<?> onPong(WebSocket ws, ByteBuffer data) {
		say("pong " + StandardCharsets.UTF_8.decode(data));
		ws.request(1);
		return null;
	}

	@Override
	public CompletionStage<?> onClose(WebSocket ws, int code, String reason) {
		say("closed " + code + " " + reason);
		over.countDown();
		return null;
	}

	@Override
	public void onError(WebSocket ws, Throwable e) {
		say("closed 1006 " + e.getMessage());
		over.countDown();
	}

	private void obey(WebSocket ws, String[] words) {
		switch (words[0]) {
		case "text":
			int size = Integer.parseInt(words[2]);
			for (int i = 0; i < Integer.parseInt(words[1]); i++) {
				String number = Integer.toString(i);
				ws.sendText(number + ".".repeat(size - number.length()), true).join();
			}
			break;
		case "binary":
			byte[] data = new byte[Integer.parseInt(words[1])];
			for (int k = 0; k < data.length; k++) data[k] = (byte) k;
			ws.sendBinary(ByteBuffer.wrap(data), true).join();
			break;
		case "ping":
			ws.sendPing(ByteBuffer.wrap(words[1].getBytes(StandardCharsets.UTF_8))).join();
			break;
		case "close":
			ws.sendClose(Integer.parseInt(words[1]), words.length > 2 ? words[2] : "");
			break;
		case "busy": // begins with the next message
			busy = Path.of(words[1]);
			say("busy");
			break;
		case "pause":
			synchronized (this) {
				paused = true;
			}
			say("paused");
			break;
		case "resume":
			Runnable rest;
			synchronized (this) {
				paused = false;
				rest = held;
				held = null;
			}
			say("resumed");
			if (rest != null) rest.run();
			break;
		default:
			say("error no " + words[0] + " here");
		}
	}

	private static SSLContext trust(String ca) throws Exception {
		KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
		store.load(null);
		try (FileInputStream in = new FileInputStream(ca)) {
			store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
		}
		TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
		trust.init(store);
		SSLContext context = SSLContext.getInstance("TLS");
		context.init(null, trust.getTrustManagers(), null);
		return context;
	}

	public static void main(String[] args) throws Exception {
		HttpClient.Builder http = HttpClient.newBuilder();
		String cookie = null;
		for (String arg : args) {
			if (arg.startsWith("ca=")) http.sslContext(trust(arg.substring(3)));
			if (arg.startsWith("cookie=")) cookie = arg.substring(7);
		}
		WebSocket.Builder builder = http.build().newWebSocketBuilder();
		if (cookie != null) builder.header("Cookie", cookie);
		JavaClient client = new JavaClient();
		WebSocket ws = builder.buildAsync(URI.create(args[0]), client).join();
		Thread commands = new Thread(() -> {
			Scanner in = new Scanner(System.in);
			while (in.hasNextLine()) client.obey(ws, in.nextLine().split(" ", 3));
		});
		commands.setDaemon(true);
		commands.start();
		over.await();
		System.exit(0);
	}
}
