/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT
 *
 * Places that unwinders get wrong. A debugger stops it at each call of `here`, and goes on from there instruction by
 * instruction: through what ends behind the call, and what begins.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ucontext.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define PLACE __attribute__((noinline, noclone)) static

__attribute__((noinline, noclone)) void here(void)
{
	__asm__ volatile("nop" ::: "memory");
}

static volatile int sink;

/* Called in the middle of an expression, so that nothing of the caller is over with it. */
PLACE int look(int number)
{
	here();
	return number + sink;
}

PLACE int red_zone(int number)
{
	volatile int words[12];

	for (int i = 0; i < 12; i++)
		words[i] = number + i;
	return words[number & 7];
}

PLACE int many_registers(int a, int b, int c, int d)
{
	int e = a * b, f = b * c, g = c * d, h = d * a;

	look(a);
	return (a ^ b ^ c ^ d) + e * f + g * h + look(e + f + g + h);
}

PLACE int has_alloca(int number)
{
	char *bytes = alloca(number * 24 + 40);

	memset(bytes, number, number + 8);
	look(bytes[number]);
	return bytes[number / 2];
}

PLACE int is_realigned(int number)
{
	_Alignas(64) char bytes[128];

	memset(bytes, number, sizeof(bytes));
	__asm__ volatile("" : : "r"(bytes) : "memory");
	return bytes[look(number) & 127];
}

PLACE int is_realigned_with_alloca(int number)
{
	_Alignas(64) char bytes[128];
	char *more = alloca(number * 24 + 40);

	memset(bytes, number, sizeof(bytes));
	memset(more, number, number + 8);
	__asm__ volatile("" : : "r"(bytes), "r"(more) : "memory");
	return more[bytes[look(number) & 127] & 7];
}

PLACE int has_large_frame(int number)
{
	volatile char bytes[100000];

	bytes[number] = number;
	return look(number) + bytes[number];
}

PLACE int ends_with_a_jump(int number)
{
	look(number);
	return red_zone(number + 1);
}

PLACE int recurs(int depth)
{
	return depth ? recurs(depth - 1) + 1 : look(depth);
}

PLACE int compare(const void *left, const void *right)
{
	static int seen;

	if (!seen++)
		here();
	return *(const int *)left - *(const int *)right;
}

static jmp_buf way_back;

__attribute__((noinline, noclone, noreturn)) static void never_returns(void)
{
	here();
	longjmp(way_back, 1);
}

/* The call is its last instruction. */
__attribute__((noinline, noclone, noreturn)) static void calls_what_never_returns(void)
{
	never_returns();
}

static char signal_stack[65536] __attribute__((aligned(16)));

static void on_signal(int number, siginfo_t *information, void *context)
{
	(void)information;
	look(number);
	/* Behind the instruction that is none. */
	if (number == SIGILL)
		((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

PLACE void signals(int flags)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags };
	stack_t stack = { .ss_sp = signal_stack, .ss_size = sizeof(signal_stack) };

	sigaltstack(&stack, 0);
	sigaction(SIGUSR1, &action, 0);
	sigaction(SIGILL, &action, 0);
	__asm__ volatile("ud2" ::: "memory");
	kill(getpid(), SIGUSR1);
	sink++;
}

/* Interrupted before it has a frame. */
__asm__(".text\n.type at_the_first_instruction, @function\nat_the_first_instruction:\n.cfi_startproc\nud2\nret\n.cfi_endproc\n"
	".size at_the_first_instruction, . - at_the_first_instruction\n");
void at_the_first_instruction(void);

static ucontext_t main_context, other_context;
static char context_stack[65536] __attribute__((aligned(16)));

static void in_context(void)
{
	look(1);
	swapcontext(&other_context, &main_context);
	look(2);
	sink++;
}

PLACE void contexts(void)
{
	getcontext(&other_context);
	other_context.uc_stack.ss_sp = context_stack;
	other_context.uc_stack.ss_size = sizeof(context_stack);
	other_context.uc_link = &main_context;
	makecontext(&other_context, in_context, 0);
	swapcontext(&main_context, &other_context);
	swapcontext(&main_context, &other_context);
}

static void *in_thread(void *argument)
{
	look((int)(intptr_t)argument);
	return 0;
}

PLACE void threads(void)
{
	pthread_t thread;

	pthread_create(&thread, 0, in_thread, (void *)3);
	pthread_join(thread, 0);
}

int main(int count, char **arguments)
{
	int numbers[] = { 5, 3, 8, 1, 9, 2, 7 };
	struct timespec now;
	char text[32];

	here();
	sink += red_zone(count);
	sink += many_registers(count, 2, 3, 4);
	sink += has_alloca(count);
	sink += is_realigned(count);
	sink += is_realigned_with_alloca(count);
	sink += has_large_frame(count);
	sink += ends_with_a_jump(count);
	sink += recurs(150);
	here();
	/* The first call of it: by way of the dynamic linker. */
	sink += snprintf(text, sizeof(text), "%d %s", count, arguments[0]);
	here();
	sink += clock_gettime(CLOCK_MONOTONIC, &now);
	qsort(numbers, sizeof(numbers) / sizeof(*numbers), sizeof(*numbers), compare);
	if (!setjmp(way_back))
		calls_what_never_returns();
	signals(0);
	signals(SA_ONSTACK);
	at_the_first_instruction();
	contexts();
	threads();
	return 0;
}
