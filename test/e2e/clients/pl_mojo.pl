# Perl's Mojo::UserAgent (libmojolicious-perl): one loop, callbacks.
use strict;
use warnings;
use Compress::Zlib qw(crc32);
use Mojo::IOLoop;
use Mojo::UserAgent;

$| = 1;
my $url = shift @ARGV;
my %opt = map { my ($k, $v) = split /=/, $_, 2; ($k => $v // '') } @ARGV;
my $ua = Mojo::UserAgent->new(max_response_size => 0, inactivity_timeout => 0);
$ua->ca($opt{ca}) if $opt{ca};

sub say_line { syswrite STDOUT, join(' ', @_) . "\n" }
sub octets { substr(join('', map { chr } 0 .. 255) x ($_[0] / 256 + 1), 0, $_[0]) }
sub message { say_line('message', $_[0], length $_[1], sprintf '%08x', crc32($_[1])) }

sub busy {
	say_line('busy');
	select undef, undef, undef, 0.02 while -e $_[0];
	say_line('idle');
}

$ua->websocket($url => {
	$opt{cookie} ? (Cookie => $opt{cookie}) : (),
	exists $opt{deflate} ? ('Sec-WebSocket-Extensions' => 'permessage-deflate') : (),
} => sub {
	my ($ua, $tx) = @_;
	unless ($tx->is_websocket) {
		say_line($tx->res->code ? 'refused ' . $tx->res->code : 'error ' . $tx->error->{message});
		return Mojo::IOLoop->stop;
	}
	$tx->max_websocket_size(64 << 20);
	say_line('open');
	$tx->on(text => sub { message('text', $_[1]) });
	$tx->on(binary => sub { message('binary', $_[1]) });
	# Pongs have no event of their own: every frame has one.
	$tx->on(frame => sub { say_line('pong', $_[1][5]) if $_[1][4] == 10 });
	$tx->on(finish => sub {
		say_line('closed', $_[1], $_[2] // '');
		Mojo::IOLoop->stop;
	});
	my %table = (
		text => sub {
			my ($n, $size) = @_;
			for my $i (0 .. $n - 1) { $tx->send({ text => $i . '.' x ($size - length $i) }) }
		},
		binary => sub { $tx->send({ binary => octets($_[0]) }) },
		ping => sub { $tx->send([1, 0, 0, 0, 9, $_[0]]) },
		close => sub { $tx->finish(shift, join ' ', @_) },
		busy => \&busy,
	);
	my $pending = '';
	my $reactor = Mojo::IOLoop->singleton->reactor;
	$reactor->io(\*STDIN => sub {
		return $reactor->remove(\*STDIN) unless sysread STDIN, $pending, 65536, length $pending;
		while ($pending =~ s/^(.*)\n//) {
			my ($word, @rest) = split / /, $1;
			$table{$word} ? $table{$word}->(@rest) : say_line('error', 'no', $word, 'here');
		}
	})->watch(\*STDIN, 1, 0);
});
Mojo::IOLoop->start;
