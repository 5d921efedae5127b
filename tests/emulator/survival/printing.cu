// Launch: grid 1, block 32, x 32, y 32.
// What printf cannot print.

extern "C" __global__ void counts_the_printed(float* y, const float* x, int n) {
    int count;
    printf("hello%n\n", &count);  // counts_the_printed: printf
    y[threadIdx.x] = float(count);
}
extern "C" __global__ void prints_null(float* y, const float* x, int n) {
    const char* volatile text = nullptr;
    printf("[%s]\n", text);  // prints_null: out-of-bounds
}
extern "C" __global__ void prints_a_number_as_text(float* y, const float* x, int n) {
    const long long number = n;
    printf("[%s]\n", (const char*)number);  // prints_a_number_as_text: out-of-bounds
}
extern "C" __global__ void prints_without_argument(float* y, const float* x, int n) {
    const char* volatile format = "%d %d %d %d %d %d %d %d %s\n";
    printf(format, 0, 0, 0, 0, 0, 0, 0, 0, 0);  // prints_without_argument: out-of-bounds
}
extern "C" __global__ void prints_without_end(float* y, const float* x, int n) {
    if (threadIdx.x != 0) return;
    for (int i = 0; i < 32; ++i) ((int*)y)[i] = 0x61616161;
    printf("%s\n", (const char*)y);  // prints_without_end: out-of-bounds
}
extern "C" __global__ void prints_very_wide(float* y, const float* x, int n) {
    printf("%*d\n", 1000000000, n);  // prints_very_wide: printf
}
extern "C" __global__ void prints_very_precisely(float* y, const float* x, int n) {
    printf("%.999999999f\n", double(n));  // prints_very_precisely: printf
}
extern "C" __global__ void prints_wide_characters(float* y, const float* x, int n) {
    printf("%ls\n", L"abc");  // prints_wide_characters: printf
}
extern "C" __global__ void prints_by_no_conversion(float* y, const float* x, int n) {
    const char* volatile format = "%y\n";
    printf(format, n);  // prints_by_no_conversion: printf
}
extern "C" __global__ void prints_by_no_format(float* y, const float* x, int n) {
    const char* volatile format = nullptr;
    printf(format, n);  // prints_by_no_format: out-of-bounds
}
extern "C" __global__ void puts_nothing(float* y, const float* x, int n) {
    const char* volatile text = nullptr;
    puts(text);  // puts_nothing: out-of-bounds
}
